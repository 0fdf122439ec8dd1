"""A model's output, taken apart while it is written: what is reason, what is quoted, what is the answer.

    tokens --TextStream--> text, never half a character --OutputStream--> pieces (kind, text), without the markers

Once the line of the answer ends, the output is `done`: what a model writes after it, nobody reads, and whoever drives
the model can stop it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from data.prompting.prompts import ANSWER, BEGIN_QUOTE, MARKERS, Parsed, is_abstention, parse_output

Kind = Literal["reason", "quote", "end of quote", "answer"]
_UNFINISHED = "\ufffd"
_AFTER: dict[str, Kind] = {ANSWER: "answer", BEGIN_QUOTE: "quote"}


class OutputPiece(NamedTuple):
    """A part of the output; of a kind "end of quote" the text is empty."""

    kind: Kind
    text: str


class TextStream:
    """Text of tokens as they come.

    Args:
        decode: all tokens so far to their text (`Tokenizer.decode`).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._given = 0

    def feed(self, token: int) -> str:
        """The text that one more token adds; of a character that is not whole yet, nothing."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        return "" if text.endswith(_UNFINISHED) else self._new(text)

    def finish(self) -> str:
        """What was held back."""
        return self._new(self._decode(self._tokens))

    def _new(self, text: str) -> str:
        new = text[self._given :]
        self._given = max(self._given, len(text))
        return new


class OutputStream:
    """Pieces of an output as its text comes.

    A text that does not begin with a marker is all answer. Of a tuned model it is held back until the end, or until an
    answer is marked: it was to begin with a marker, so a part of the format may still follow.

    Args:
        tuned: whether the model was taught the format.

    Attributes:
        done: the answer's line has ended; further text is not looked at.
        text: what was looked at, without what came after the end.
    """

    def __init__(self, *, tuned: bool) -> None:
        self.done = False
        self.text = ""
        self._tuned = tuned
        self._waiting = ""  # may be the beginning of a marker, or of white space at the end
        self._kind: Kind | None = None
        self._answered = False  # a marker said that the answer begins
        self._started = False  # something of this piece was given

    def feed(self, text: str) -> list[OutputPiece]:
        """The pieces that this text ends."""
        if self.done:
            return []
        self.text += text
        self._waiting += text
        pieces: list[OutputPiece] = []
        while not self.done and self._take(pieces, last=False):
            pass
        return pieces

    def finish(self) -> list[OutputPiece]:
        """What was held back; nothing follows."""
        pieces: list[OutputPiece] = []
        while not self.done and self._take(pieces, last=True):
            pass
        if self._kind == "quote":
            pieces.append(OutputPiece("end of quote", ""))
        self.done = True
        return pieces

    @property
    def parsed(self) -> Parsed:
        """The output so far. The answer is empty where the output was cut before it came to it."""
        parsed = parse_output(self.text)
        formatted = self._kind not in (None, "answer")
        return Parsed("", parsed.quotes, False) if formatted and not self._answered else parsed

    @property
    def abstained(self) -> bool:
        """The answer says that the documents do not hold it."""
        return is_abstention(self.parsed.answer)

    def _take(self, pieces: list[OutputPiece], last: bool) -> bool:
        """One step through what waits; whether there was one."""
        if self._kind is None and not self._begin(last):
            return False
        if self._kind == "answer":
            return self._take_answer(pieces, last)
        marker, place = _first_marker(self._waiting)
        if marker is None:
            held = 0 if last else _held(self._waiting)
            text = self._waiting[: len(self._waiting) - held]
            # White space waits: at the end of a reason or a quote there is to be none.
            ready = text.rstrip()
            self._waiting = "" if last else self._waiting[len(ready) :]
            self._give(pieces, self._kind or "reason", ready)
            return False
        before = self._waiting[:place].rstrip()
        self._waiting = self._waiting[place + len(marker) :]
        self._give(pieces, self._kind or "reason", before)
        if self._kind == "quote":
            pieces.append(OutputPiece("end of quote", ""))
        self._answered = marker == ANSWER
        self._kind = _AFTER.get(marker, "reason")
        self._started = False
        return True

    def _begin(self, last: bool) -> bool:
        """Find out whether the output has the format."""
        text = self._waiting.lstrip()
        if not text:
            return False
        if any(text.startswith(marker) for marker in MARKERS):
            self._kind = "reason"
            return True
        if not last and any(marker.startswith(text) for marker in MARKERS):
            return False
        if self._tuned and not last:
            if ANSWER not in text:
                return False
            self._kind = "reason"
            return True
        self._kind, self._waiting = "answer", text
        return True

    def _take_answer(self, pieces: list[OutputPiece], last: bool) -> bool:
        if not self._started:
            self._waiting = self._waiting.lstrip(" \t" if self._answered else None)
        # A marked answer is one line; another answer begins where another marker stands.
        marks = (ANSWER, "\n") if self._answered else (ANSWER,)
        ends = [place for mark in marks if (place := self._waiting.find(mark)) >= 0]
        if ends:
            rest = self._waiting[min(ends) :]
            self._give(pieces, "answer", self._waiting[: min(ends)].rstrip())
            self.text = self.text[: len(self.text) - len(rest)]
            self._waiting, self.done = "", True
            return False
        held = 0 if last else _held(self._waiting)
        ready = self._waiting[: len(self._waiting) - held].rstrip()
        self._waiting = "" if last else self._waiting[len(ready) :]
        self._give(pieces, "answer", ready)
        return False

    def _give(self, pieces: list[OutputPiece], kind: Kind, text: str) -> None:
        if not self._started:
            text = text.lstrip()
        if text:
            self._started = True
            pieces.append(OutputPiece(kind, text))


def _first_marker(text: str) -> tuple[str | None, int]:
    found = [(text.find(marker), marker) for marker in MARKERS if marker in text]
    if not found:
        return None, -1
    place, marker = min(found)
    return marker, place


def _held(text: str) -> int:
    """Characters at the end that may be the beginning of a marker."""
    for length in range(min(len(text), max(map(len, MARKERS)) - 1), 0, -1):
        if any(marker.startswith(text[-length:]) for marker in MARKERS):
            return length
    return 0
