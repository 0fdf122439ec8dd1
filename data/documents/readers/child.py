"""Reads files in a child process, so that a parser may crash, and the kernel ends it when a file takes too long.

Starting takes a second, so one child reads file after file; after it has ended, another is started. The protocol is
JSON except for the bytes of the file:

    to it       a line {"suffix", "settings", "seconds", "bytes"}, then that many bytes
    from it     a line [{"Extracted": {...}}, {"UnreadPart": {...}}, ...], or {"unreadable": reason}

Parsers written in C cannot be interrupted from Python. So the child sets a kernel timer on itself, whose signal it does
not handle: it ends even if its parent is gone.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from data.documents.documents import MEGABYTE, DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart, first_line

Items = list[Extracted | UnreadPart]

_ROOT = Path(__file__).resolve().parents[3]
# Imported before the timer starts: the import takes a second or two.
_PARSERS = {
    ".pdf": "pypdfium2",
    ".docx": "docx",
    ".docm": "docx",
    ".dotx": "docx",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".ppsx": "pptx",
    ".html": "lxml.html",
    ".htm": "lxml.html",
    ".xhtml": "lxml.html",
    ".parquet": "pyarrow.parquet",
    ".xlsx": "openpyxl",
    ".xlsm": "openpyxl",
    ".ods": "lxml.etree",
    ".odt": "lxml.etree",
    ".odp": "lxml.etree",
    ".epub": "lxml.html",
    ".eml": "lxml.html",
    ".ipynb": "lxml.html",
}
_MEMORY = 512 * MEGABYTE  # that a file may take besides what it unpacks
_QUICK_BYTES = MEGABYTE  # up to this size, other formats are read in this process, in a moment


class ReadingChild:
    """Reads files in a child process, which starts with the first file and ends with the `with` block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ReadingChild:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def read(
        self, suffix: str, raw: bytes, settings: DocumentSettings, here: Callable[[], Iterable[Extracted | UnreadPart]]
    ) -> Items:
        """The items of a file, read by the child; a small file of a format without a parser is read by `here`.

        Raises:
            Unreadable: with the reason; also if it took too long or the parser crashed.
        """
        if suffix not in _PARSERS and len(raw) <= _QUICK_BYTES:
            return list(here())
        process = self._process = self._process or _start()
        assert process.stdin is not None and process.stdout is not None
        secret = settings.password and settings.password.get_secret_value()
        request = {
            "suffix": suffix,
            # JSON leaves the password out; it goes through the pipe to this child only.
            "settings": settings.model_dump(mode="json") | {"password": secret},
            "seconds": settings.seconds_per_file,
            "bytes": len(raw),
        }
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n" + raw)
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            raise Unreadable(self._why_ended(settings.seconds_per_file))
        reply = json.loads(answer)
        if isinstance(reply, dict):
            raise Unreadable(reply["unreadable"])
        return items_of(reply)

    def _why_ended(self, seconds: float) -> str:
        code = self._end()
        if code == -signal.SIGALRM:
            return f"not read within documents.seconds_per_file={seconds:g} s: raise it, or simplify or remove the file"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its parser crashed ({how}): save it again or remove it"

    def _end(self) -> int:
        """Ends the process, if there is one; returns its exit code, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()  # it ends when it waits for the next file
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            process.stdout.close()


def items_of(entries: list[dict[str, dict[str, object]]]) -> Items:
    """Items from their JSON form.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: they do not have that form.
    """
    return [_item(*entry.popitem()) for entry in entries]


def fields_of(items: Iterable[Extracted | UnreadPart]) -> list[dict[str, dict[str, object]]]:
    """Items in their JSON form."""
    return [{type(item).__name__: asdict(item)} for item in items]


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, from the exception of its reader."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError | RecursionError):
        return f"too large or too deeply nested to be parsed ({type(error).__name__})"
    return f"cannot be parsed ({type(error).__name__}: {first_line(error)}): save it again or remove it"


def _item(kind: str, fields: dict[str, object]) -> Extracted | UnreadPart:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return {"Extracted": Extracted, "UnreadPart": UnreadPart}[kind](**values)


def _start() -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "data.documents.readers.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C goes to the parent, which then ends this process
    )


def _serve(source: BinaryIO, target: BinaryIO) -> None:
    """Reads files until the parent closes the pipe."""
    from data.documents.readers.registry import READERS

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while line := source.readline():
        request = json.loads(line)
        raw = source.read(request["bytes"])
        settings = DocumentSettings.model_validate(request["settings"])
        answer: object
        try:
            if (parser := _PARSERS.get(request["suffix"])) is not None:
                importlib.import_module(parser)
            signal.setitimer(signal.ITIMER_REAL, request["seconds"])
            with _limited_memory(_MEMORY + 4 * settings.max_unpacked_bytes):
                answer = fields_of(READERS[request["suffix"]](raw, settings))
        except Exception as error:  # of any library
            answer = {"unreadable": reason_of(error)}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        target.write(json.dumps(answer).encode("ascii") + b"\n")  # ASCII: a text may hold half a surrogate pair
        target.flush()


@contextmanager
def _limited_memory(more: int) -> Iterator[None]:
    """Limits how many bytes this process may grow, since PDFium unpacks streams itself; only where /proc exists."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (size + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _main() -> None:
    # A library that prints must not write into the replies.
    with os.fdopen(os.dup(1), "wb") as target:
        os.dup2(2, 1)
        _serve(sys.stdin.buffer, target)


if __name__ == "__main__":
    _main()
