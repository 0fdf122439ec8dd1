"""Files read in a process of their own, which the kernel ends when a file takes too long, and which may crash.

One process reads one file after the other, since it takes a second to start; another one takes its place once it has
ended. Between the two, all in JSON but for the bytes of the file:

    to it       a line {"suffix", "settings", "seconds", "bytes"}, then so many bytes
    from it     a line [{"Extracted": {...}}, {"UnreadPart": {...}}, ...], or {"unreadable": reason}

Parsers written in C cannot be interrupted from within Python. So the process sets the kernel's timer on itself, whose
signal nobody handles: it ends even where the process that asked is gone.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from data.documents.documents import MEGABYTE, DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart

Items = list[Extracted | UnreadPart]

_ROOT = Path(__file__).resolve().parents[3]
# What each format's reader imports, before its time begins: it takes a second or two.
_PARSERS = {
    ".pdf": "pypdf",
    ".docx": "docx",
    ".pptx": "pptx",
    ".html": "trafilatura",
    ".htm": "trafilatura",
    ".xhtml": "trafilatura",
    ".parquet": "pyarrow.parquet",
}
_QUICK_BYTES = MEGABYTE  # other formats are read in a moment up to this size, and here


class ReadingChild:
    """Reads files apart from this process; started when the first is read, and ended with the `with` block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ReadingChild:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def read(
        self, suffix: str, raw: bytes, settings: DocumentSettings, here: Callable[[], Iterable[Extracted | UnreadPart]]
    ) -> Items:
        """What is in a file of a format with a parser, or of another one that is large; else what `here` gives.

        Raises:
            Unreadable: with the reason; also where it took too long, or the parser crashed.
        """
        if suffix not in _PARSERS and len(raw) <= _QUICK_BYTES:
            return list(here())
        process = self._process = self._process or _start()
        assert process.stdin is not None and process.stdout is not None
        asked = {
            "suffix": suffix,
            "settings": settings.model_dump(mode="json"),
            "seconds": settings.seconds_per_file,
            "bytes": len(raw),
        }
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n" + raw)
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            raise Unreadable(self._why_ended(settings.seconds_per_file))
        found = json.loads(answer)
        if isinstance(found, dict):
            raise Unreadable(found["unreadable"])
        return items_of(found)

    def _why_ended(self, seconds: float) -> str:
        code = self._end()
        if code == -signal.SIGALRM:
            return f"not read in documents.seconds_per_file={seconds:g} s: raise it, or simplify or remove the file"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its parser crashed ({how}): save it anew or remove it"

    def _end(self) -> int:
        """Ends the process, if there is one; its exit code, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()  # it ends where it waits for the next file
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            process.stdout.close()


def items_of(entries: list[dict[str, dict[str, object]]]) -> Items:
    """Items that were JSON.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: they are not of that form.
    """
    return [_item(*entry.popitem()) for entry in entries]


def fields_of(items: Iterable[Extracted | UnreadPart]) -> list[dict[str, dict[str, object]]]:
    """Items as JSON has them."""
    return [{type(item).__name__: asdict(item)} for item in items]


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, from what its reader raised."""
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, MemoryError | RecursionError):
        return f"too large or too deeply nested to be parsed ({type(error).__name__})"
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return f"cannot be parsed ({type(error).__name__}: {first}): save it anew or remove it"


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
        start_new_session=True,  # Ctrl-C is for the process that asks, which then ends this one
    )


def _serve(source: BinaryIO, target: BinaryIO) -> None:
    """Read files until the other end is closed."""
    from data.documents.readers.registry import READERS

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while line := source.readline():
        asked = json.loads(line)
        raw = source.read(asked["bytes"])
        settings = DocumentSettings.model_validate(asked["settings"])
        answer: object
        try:
            if (parser := _PARSERS.get(asked["suffix"])) is not None:
                importlib.import_module(parser)
            signal.setitimer(signal.ITIMER_REAL, asked["seconds"])
            answer = fields_of(READERS[asked["suffix"]](raw, settings))
        except Exception as error:  # of whatever library
            answer = {"unreadable": reason_of(error)}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        target.write(json.dumps(answer).encode("ascii") + b"\n")  # ASCII: a text may hold half a surrogate pair
        target.flush()


def _main() -> None:
    # A library that prints must not write into what is sent.
    with os.fdopen(os.dup(1), "wb") as target:
        os.dup2(2, 1)
        _serve(sys.stdin.buffer, target)


if __name__ == "__main__":
    _main()
