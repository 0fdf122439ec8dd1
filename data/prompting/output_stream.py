"""Parses a model's output while it is generated, into reason, quotes and answer.

    tokens --TextStream--> text, complete characters --OutputStream--> pieces (kind, text), without the markers

Once the line of the answer ends, the output is `done`, and generation can stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from data.prompting.prompts import ANSWER, BEGIN_QUOTE, MARKERS, Parsed, is_abstention, parse_output

Kind = Literal["reason", "quote", "end of quote", "answer"]
_UNFINISHED = "\ufffd"
_AFTER: dict[str, Kind] = {ANSWER: "answer", BEGIN_QUOTE: "quote"}


class OutputPiece(NamedTuple):
    """A part of the output; for "end of quote" the text is empty."""

    kind: Kind
    text: str


class TextStream:
    """Decodes tokens to text incrementally.

    Args:
        decode: tokens to text (`Tokenizer.decode`); called with all tokens so far.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._emitted = 0

    def feed(self, token: int) -> str:
        """The text that one more token adds; empty while a character is incomplete."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        return "" if text.endswith(_UNFINISHED) else self._new(text)

    def finish(self) -> str:
        """The text that was held back."""
        return self._new(self._decode(self._tokens))

    def _new(self, text: str) -> str:
        new = text[self._emitted :]
        self._emitted = max(self._emitted, len(text))
        return new


class OutputStream:
    """Splits an output into pieces as its text is generated.

    A text that does not begin with a marker is all answer. From a tuned model, which should begin with a marker, such a
    text is held back until a marker or its end: it is the reason or the answer. No piece of a tuned model's output has
    a marker in it.

    Args:
        tuned: whether the model was trained on the format.
        stops: strings that end a text which is held back; what is before them is the answer. In other texts they are
            the caller's concern.

    Attributes:
        done: the answer has ended; further text is ignored.
        stopped: one of `stops` has ended it.
        text: the text so far, without what follows the end of the answer.
    """

    def __init__(self, *, tuned: bool, stops: Sequence[str] = ()) -> None:
        self.done = self.stopped = False
        self.text = ""
        self._tuned = tuned
        self._stops = tuple(stops)
        self._waiting = ""  # possibly the beginning of a marker, or white space at the end
        self._kind: Kind | None = None
        self._answered = False  # the answer was marked
        self._started = False  # some text of this piece was emitted

    def feed(self, text: str) -> list[OutputPiece]:
        """The pieces that this text completes."""
        if self.done:
            return []
        self.text += text
        self._waiting += text
        pieces: list[OutputPiece] = []
        while not self.done and self._take(pieces, last=False):
            pass
        return pieces

    def finish(self) -> list[OutputPiece]:
        """The pieces that were held back; no text follows."""
        pieces: list[OutputPiece] = []
        while not self.done and self._take(pieces, last=True):
            pass
        if self._kind == "quote":
            pieces.append(OutputPiece("end of quote", ""))
        self.done = True
        return pieces

    @property
    def parsed(self) -> Parsed:
        """The output so far. The answer is empty if the output was cut before it."""
        parsed = parse_output(self.text)
        formatted = self._kind not in (None, "answer")
        return Parsed("", parsed.quotes, False) if formatted and not self._answered else parsed

    @property
    def abstained(self) -> bool:
        """The answer says that the documents do not hold it."""
        return is_abstention(self.parsed.answer)

    def _take(self, pieces: list[OutputPiece], last: bool) -> bool:
        """Parses up to the next marker; returns whether there was one."""
        if self._kind is None and not self._begin(last):
            return False
        if self._kind == "answer":
            return self._take_answer(pieces, last or self.done)
        marker, position = _first_marker(self._waiting)
        if marker is None:
            held = 0 if last else _held(self._waiting)
            text = self._waiting[: len(self._waiting) - held]
            # White space is held back, since a reason or a quote must not end with it.
            ready = text.rstrip()
            self._waiting = "" if last else self._waiting[len(ready) :]
            self._emit(pieces, self._kind or "reason", ready)
            return False
        before = self._waiting[:position].rstrip()
        self._waiting = self._waiting[position + len(marker) :]
        self._emit(pieces, self._kind or "reason", before)
        if self._kind == "quote":
            pieces.append(OutputPiece("end of quote", ""))
        self._answered = marker == ANSWER
        self._kind = _AFTER.get(marker, "reason")
        self._started = False
        return True

    def _begin(self, last: bool) -> bool:
        """Decides whether the output has the format; returns False while that is open."""
        text = self._waiting.lstrip()
        if not text:
            return False
        if text.startswith(MARKERS):
            self._kind = "reason"
            return True
        if not last and any(marker.startswith(text) for marker in MARKERS):
            return False
        if self._tuned:
            stop, marker = first_of(self._stops, text), first_of(MARKERS, text)
            # Whichever is complete first, so that it does not matter how the text arrives.
            if stop is not None and (marker is None or stop.end < marker.end):
                self._cut(text[stop.start :])
                self._kind, self._waiting = "answer", text[: stop.start]
                self.done = self.stopped = True
                return True
            if marker is not None:
                self._kind = "reason"
                return True
            if not last:
                return False
        self._kind, self._waiting = "answer", text
        return True

    def _take_answer(self, pieces: list[OutputPiece], last: bool) -> bool:
        if not self._started:
            self._waiting = self._waiting.lstrip(" \t" if self._answered else None)
        # A marked answer is one line without markers; the marker of an answer begins another one.
        marks = (*MARKERS, "\n") if self._answered else (ANSWER,)
        ends = [end for mark in marks if (end := self._waiting.find(mark)) >= 0]
        if ends:
            rest = self._waiting[min(ends) :]
            self._emit(pieces, "answer", self._waiting[: min(ends)].rstrip())
            self._cut(rest)
            self._waiting, self.done = "", True
            return False
        held = 0 if last else _held(self._waiting)
        ready = self._waiting[: len(self._waiting) - held].rstrip()
        self._waiting = "" if last else self._waiting[len(ready) :]
        self._emit(pieces, "answer", ready)
        return False

    def _cut(self, rest: str) -> None:
        """Take what follows the end of the answer off the text."""
        self.text = self.text[: len(self.text) - len(rest)]

    def _emit(self, pieces: list[OutputPiece], kind: Kind, text: str) -> None:
        if not self._started:
            text = text.lstrip()
        if text:
            self._started = True
            pieces.append(OutputPiece(kind, text))


class Place(NamedTuple):
    """A part of a text."""

    start: int
    end: int


def first_of(strings: Sequence[str], text: str) -> Place | None:
    """Where the string is that is complete first, of two the longer one; None: the text has none of them."""
    starts = ((text.find(string), len(string)) for string in strings)
    places = [Place(start, start + length) for start, length in starts if start >= 0]
    return min(places, key=lambda place: (place.end, place.start), default=None)


def _first_marker(text: str) -> tuple[str | None, int]:
    starts = [(text.find(marker), marker) for marker in MARKERS if marker in text]
    if not starts:
        return None, -1
    position, marker = min(starts)
    return marker, position


def _held(text: str) -> int:
    """The number of characters at the end that may be the beginning of a marker."""
    for length in range(min(len(text), max(map(len, MARKERS)) - 1), 0, -1):
        if any(marker.startswith(text[-length:]) for marker in MARKERS):
            return length
    return 0
