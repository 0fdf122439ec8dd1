"""Answers of a teacher or a judge, kept on disk by what was asked before anybody uses them, and a ledger.

    FOLDER/answers/KEY[:2]/KEY.json   one answer with its tokens
    FOLDER/ledger.jsonl               a line for each attempt of each call, in the order of their ends
    FOLDER/lock                       held by the process that asks

An answer is written, synced and renamed, so that it is whole or absent whenever the process dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from data.endpoint_settings import EndpointSettings
from data.prompts import Prompt
from data.whole_files import write_whole


class Call(Protocol):
    """What is asked: the words, and the JSON schema of the answer."""

    @property
    def prompt(self) -> Prompt: ...

    @property
    def response_format(self) -> dict[str, Any]: ...


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
    if settings.structured_output:
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

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait until no other process asks, and keep others waiting; the kernel lets go when this process dies."""
        self.answers.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _end_line(self.ledger)
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
        write_whole(self._path(key), (json.dumps(asdict(answer), sort_keys=True) + "\n").encode(), lasting=True)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the ledger."""
        with self.ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")

    def _path(self, key: str) -> Path:
        return self.answers / key[:2] / f"{key}.json"


def _end_line(path: Path) -> None:
    """A line that a dying process left unfinished must not run into the next."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a") as file:
            file.write("\n")
