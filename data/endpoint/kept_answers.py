"""Answers of a server, kept on disk by the content of the call before they are used, and a ledger of all attempts.

    FOLDER/answers/KEY[:2]/KEY.json   one answer with its tokens
    FOLDER/ledger.jsonl               a line for each attempt of each call, in the order in which they ended
    FOLDER/sent/KEY.json              an attempt in flight: the ledger's line if this process dies
    FOLDER/lock                       held by the process that sends calls

An answer is written, synced and renamed, so that it is complete or absent whenever the process dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from data.endpoint.budget import Tokens
from data.endpoint.settings import EndpointSettings
from data.files.whole_files import write_whole
from data.prompting.prompts import Prompt

ANSWERED = "answered"  # outcome of a successful attempt


class Call(Protocol):
    """What is sent: the prompt, and the JSON schema of the answer or None for free text."""

    @property
    def prompt(self) -> Prompt: ...

    @property
    def response_format(self) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class PlainCall:
    """A call as plain data, fit for a file."""

    prompt: Prompt
    response_format: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """An answer and its tokens.

    Attributes:
        tokens_in, tokens_out: of prompt and answer, as the server reports them.
        estimated: the server did not report them, and they are estimated as a quarter of the bytes.
        finish: why the answer ended ("stop"; "length" if it was cut at max_tokens).
    """

    text: str
    tokens_in: int
    tokens_out: int
    estimated: bool
    finish: str

    @property
    def tokens(self) -> Tokens:
        """Both numbers of tokens."""
        return Tokens(self.tokens_in, self.tokens_out)


def call_body(call: Call, settings: EndpointSettings) -> dict[str, Any]:
    """The body of a call in the OpenAI protocol."""
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": "user", "content": call.prompt.message}],
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
    }
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    if settings.structured_output and call.response_format is not None:
        body["response_format"] = call.response_format
    return body


def call_key(call: Call, settings: EndpointSettings) -> str:
    """The key of a call, 64 hex digits: a digest of server, model, messages and sampling."""
    asked = {"server": (settings.base_url or "").rstrip("/"), **call_body(call, settings)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class AnswerBook:
    """The directory of answers. One process at a time sends calls (`held`); any may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.answers = self.folder / "answers"
        self.ledger = self.folder / "ledger.jsonl"
        self.sent = self.folder / "sent"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the directory, waiting for other processes; the kernel releases the lock when this process dies."""
        for folder in (self.answers, self.sent):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _end_line(self.ledger)
            self._note_lost()
            yield

    def busy(self) -> bool:
        """Whether another process holds the lock."""
        try:
            with (self.folder / "lock").open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def get(self, key: str) -> EndpointAnswer | None:
        """The kept answer, or None if there is none or its file is damaged."""
        try:
            return EndpointAnswer(**json.loads(self._path(key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, key: str, answer: EndpointAnswer) -> None:
        """Write an answer to disk and sync it; it survives a power failure once this returns."""
        write_whole(self._path(key), json.dumps(asdict(answer), sort_keys=True) + "\n", durable=True)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the ledger."""
        with self.ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")

    def send(self, key: str, entry: Mapping[str, Any]) -> None:
        """Record that a call is about to be sent; `entry` goes to the ledger if this process dies before `end`."""
        (self.sent / f"{key}.json").write_text(json.dumps(entry, sort_keys=True), encoding="utf-8")

    def end(self, key: str) -> None:
        """Record that the attempt has ended and is in the ledger."""
        (self.sent / f"{key}.json").unlink(missing_ok=True)

    def lost(self, keys: Collection[str]) -> Tokens:
        """The tokens of failed attempts of these calls, by the ledger."""
        lost = Tokens()
        with suppress(FileNotFoundError), self.ledger.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(ValueError, TypeError, KeyError):  # half a line of a killed process
                    entry = json.loads(line)
                    if entry["outcome"] != ANSWERED and entry["call"] in keys:
                        lost += Tokens(int(entry["tokens_in"]), int(entry["tokens_out"]))
        return lost

    def _note_lost(self) -> None:
        """Add attempts in flight of a process that died to the ledger, unless their answers are kept."""
        for path in sorted(self.sent.glob("*.json")):
            with suppress(ValueError):  # half-written by a process that was killed
                entry = json.loads(path.read_bytes())
                if self.get(path.stem) is None:
                    self.note(entry)
            path.unlink()

    def _path(self, key: str) -> Path:
        return self.answers / key[:2] / f"{key}.json"


def _end_line(path: Path) -> None:
    """End a line that a killed process left unfinished, so that the next one starts on its own."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a") as file:
            file.write("\n")
