"""One answer as its tokens come: text, pieces, stop strings, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from data.prompting.output_stream import OutputPiece, OutputStream, TextStream
from data.prompting.prompts import Parsed, is_abstention


class GrowingAnswer:
    """Pieces of an answer, token by token; the same for whoever asks, at once or bit by bit.

    Args:
        decode: tokens to text (`Tokenizer.decode`).
        tuned: whether the model was taught the format.
        stops: the answer ends before the first of these; quotes and reasons may hold them.

    Attributes:
        tokens: how many came.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, tuned: bool, stops: Sequence[str] = ()) -> None:
        self.tokens = 0
        self._text = TextStream(decode)
        self._output = OutputStream(tuned=tuned)
        self._stop = StopAt(stops)
        self._answer: list[str] = []

    @property
    def done(self) -> bool:
        """Nothing more is wanted, whatever the model would go on with."""
        return self._output.done or self._stop.stopped

    def feed(self, token: int) -> list[OutputPiece]:
        """The pieces that a token ends; none once it is done."""
        if self.done:
            return []
        self.tokens += 1
        return self._stopped(self._output.feed(self._text.feed(token)))

    def finish(self) -> list[OutputPiece]:
        """What was held back; no token follows."""
        pieces = [] if self.done else self._stopped(self._output.feed(self._text.finish()))
        pieces += self._stopped(self._output.finish())
        if rest := self._stop.finish():
            pieces += self._kept([OutputPiece("answer", rest)])
        return pieces

    @property
    def parsed(self) -> Parsed:
        """Answer and quotes so far; the answer is what was given piece by piece."""
        answer = "".join(self._answer)
        return Parsed(answer, self._output.parsed.quotes, is_abstention(answer))

    def _stopped(self, pieces: Sequence[OutputPiece]) -> list[OutputPiece]:
        given = [
            OutputPiece(kind, self._stop.feed(text)) if kind == "answer" else OutputPiece(kind, text)
            for kind, text in pieces
        ]
        return self._kept([piece for piece in given if piece.text or piece.kind == "end of quote"])

    def _kept(self, pieces: list[OutputPiece]) -> list[OutputPiece]:
        self._answer += [text for kind, text in pieces if kind == "answer"]
        return pieces


class StopAt:
    """Ends a text before the first of some strings.

    Attributes:
        stopped: one of them has come.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = tuple(stops)
        self._waiting = ""

    def feed(self, text: str) -> str:
        """What of the text can be given; the beginning of a stop string waits."""
        if self.stopped:
            return ""
        self._waiting += text
        found = [place for stop in self._stops if (place := self._waiting.find(stop)) >= 0]
        if found:
            self.stopped = True
            given, self._waiting = self._waiting[: min(found)], ""
            return given
        held = max((_overlap(self._waiting, stop) for stop in self._stops), default=0)
        given = self._waiting[: len(self._waiting) - held]
        self._waiting = self._waiting[len(given) :]
        return given

    def finish(self) -> str:
        """What waited."""
        given, self._waiting = self._waiting, ""
        return given


def _overlap(text: str, stop: str) -> int:
    """How long a beginning of `stop` the text ends with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
