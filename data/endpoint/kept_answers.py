"""Answers of a teacher or a judge, kept on disk by what was asked before anybody uses them, and a ledger.

    FOLDER/answers/KEY[:2]/KEY.json   one answer with its tokens
    FOLDER/ledger.jsonl               a line for each attempt of each call, in the order of their ends
    FOLDER/sent/KEY.json              an attempt on its way: the line that it will be if this process dies
    FOLDER/lock                       held by the process that asks

An answer is written, synced and renamed, so that it is whole or absent whenever the process dies.
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
from user_error import UserError

ANSWERED = "answered"  # the outcome of an attempt that came to something


class Call(Protocol):
    """What is asked: the words, and the JSON schema of the answer; None where it is taken as it is."""

    @property
    def prompt(self) -> Prompt: ...

    @property
    def response_format(self) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class TeacherAnswer:
    """One answer and what it took.

    Attributes:
        tokens_in, tokens_out: of prompt and answer, as the server says.
        estimated: the server said nothing, and the tokens are a quarter of the bytes.
        finish: why the answer ended ("stop"; "length" where it was cut at max_tokens).
    """

    text: str
    tokens_in: int
    tokens_out: int
    estimated: bool
    finish: str

    @property
    def tokens(self) -> Tokens:
        """What it took."""
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
    """64 hex digits for what is asked and whom: the server, the model, the messages and the sampling."""
    asked = {"server": (settings.base_url or "").rstrip("/"), **call_body(call, settings)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class AnswerBook:
    """The folder of answers. One process at a time asks (`held`); any may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.answers = self.folder / "answers"
        self.ledger = self.folder / "ledger.jsonl"
        self.sent = self.folder / "sent"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait until no other process asks, and keep others waiting; the kernel lets go when this process dies."""
        for folder in (self.answers, self.sent):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _end_line(self.ledger)
            self._find_lost()
            yield

    def busy(self) -> bool:
        """Whether another process asks at this moment."""
        try:
            with (self.folder / "lock").open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def get(self, key: str) -> TeacherAnswer | None:
        """The answer that is kept, or None; a damaged file counts as none."""
        try:
            return TeacherAnswer(**json.loads(self._path(key).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, key: str, answer: TeacherAnswer) -> None:
        """Put an answer on disk; when this returns it outlives the process and the machine."""
        write_whole(self._path(key), json.dumps(asdict(answer), sort_keys=True) + "\n", durable=True)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the ledger."""
        with self.ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")

    def send(self, key: str, entry: Mapping[str, Any]) -> None:
        """A call is about to be sent; `entry` is what becomes of it when this process dies before `end`."""
        (self.sent / f"{key}.json").write_text(json.dumps(entry, sort_keys=True), encoding="utf-8")

    def end(self, key: str) -> None:
        """The attempt has ended, and is in the ledger."""
        (self.sent / f"{key}.json").unlink(missing_ok=True)

    def lost(self, keys: Collection[str]) -> Tokens:
        """What attempts of these calls took that came to nothing, by the ledger."""
        lost = Tokens()
        with suppress(FileNotFoundError), self.ledger.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(ValueError, TypeError, KeyError):  # half a line of a process that was killed
                    entry = json.loads(line)
                    if entry["outcome"] != ANSWERED and entry["call"] in keys:
                        lost += Tokens(int(entry["tokens_in"]), int(entry["tokens_out"]))
        return lost

    def _find_lost(self) -> None:
        """Attempts of a process that died become lines of the ledger, but for those whose answer it could keep."""
        for path in sorted(self.sent.glob("*.json")):
            with suppress(UserError):
                entry = json.loads(path.read_bytes())
                if self.get(path.stem) is None:
                    self.note(entry)
            path.unlink()

    def _path(self, key: str) -> Path:
        return self.answers / key[:2] / f"{key}.json"


def _end_line(path: Path) -> None:
    """A line that a dying process left unfinished must not run into the next."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a") as file:
            file.write("\n")
