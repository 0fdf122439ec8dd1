"""Streams one answer token by token: text, pieces, stop strings, and its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from data.prompting.output_stream import OutputPiece, OutputStream, TextStream, first_of
from data.prompting.prompts import Parsed, is_abstention


class GrowingAnswer:
    """Pieces of an answer, token by token; the same for streamed and complete answers.

    Args:
        decode: tokens to text (`Tokenizer.decode`).
        tuned: whether the model was trained on the format.
        stops: the answer ends before the first of these. Marked quotes and reasons may contain them; a tuned model's
            text that begins without a marker ends there as well, since it may be the answer.

    Attributes:
        tokens: the number of tokens so far.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, tuned: bool, stops: Sequence[str] = ()) -> None:
        self.tokens = 0
        self._text = TextStream(decode)
        self._output = OutputStream(tuned=tuned, stops=stops)
        self._stop = StopAt(stops)
        self._answer: list[str] = []

    @property
    def done(self) -> bool:
        """The answer is complete; further tokens are not needed."""
        return self._output.done or self._stop.stopped

    @property
    def stopped(self) -> bool:
        """A stop string has ended the answer."""
        return self._output.stopped or self._stop.stopped

    def feed(self, token: int) -> list[OutputPiece]:
        """The pieces that a token completes; none once the answer is done."""
        if self.done:
            return []
        self.tokens += 1
        return self._stopped(self._output.feed(self._text.feed(token)))

    def finish(self) -> list[OutputPiece]:
        """The pieces that were held back; no token follows."""
        pieces = [] if self.done else self._stopped(self._output.feed(self._text.finish()))
        pieces += self._stopped(self._output.finish())
        if rest := self._stop.finish():
            pieces += self._kept([OutputPiece("answer", rest)])
        return pieces

    @property
    def parsed(self) -> Parsed:
        """Answer and quotes so far; the answer is the sum of its pieces."""
        answer = "".join(self._answer)
        return Parsed(answer, self._output.parsed.quotes, is_abstention(answer))

    def _stopped(self, pieces: Sequence[OutputPiece]) -> list[OutputPiece]:
        cut = [
            OutputPiece(kind, self._stop.feed(text)) if kind == "answer" else OutputPiece(kind, text)
            for kind, text in pieces
        ]
        return self._kept([piece for piece in cut if piece.text or piece.kind == "end of quote"])

    def _kept(self, pieces: list[OutputPiece]) -> list[OutputPiece]:
        self._answer += [text for kind, text in pieces if kind == "answer"]
        return pieces


class GrowingText:
    """A text as it is generated, token by token, without a format.

    Args:
        decode: tokens to text (`Tokenizer.decode`).
        stops: the text ends before the first of these.

    Attributes:
        tokens: the number of tokens so far.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self.tokens = 0
        self._text = TextStream(decode)
        self._stop = StopAt(stops)

    @property
    def stopped(self) -> bool:
        """A stop string has ended the text; further tokens are not needed."""
        return self._stop.stopped

    def feed(self, token: int) -> str:
        """The text that a token completes; none once the text has ended."""
        if self.stopped:
            return ""
        self.tokens += 1
        return self._stop.feed(self._text.feed(token))

    def finish(self) -> str:
        """The text that was held back; no token follows."""
        return self._stop.feed(self._text.finish()) + self._stop.finish()


class StopAt:
    """Ends a text before the first of some strings: the one that is complete first, however the text arrives.

    Attributes:
        stopped: one of them has appeared.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = tuple(stops)
        self._waiting = ""

    def feed(self, text: str) -> str:
        """The text that can be emitted; what may be the beginning of a stop string is held back."""
        if self.stopped:
            return ""
        self._waiting += text
        if (stop := first_of(self._stops, self._waiting)) is not None:
            self.stopped = True
            ready, self._waiting = self._waiting[: stop.start], ""
            return ready
        held = max((_overlap(self._waiting, stop) for stop in self._stops), default=0)
        ready = self._waiting[: len(self._waiting) - held]
        self._waiting = self._waiting[len(ready) :]
        return ready

    def finish(self) -> str:
        """The text that was held back."""
        ready, self._waiting = self._waiting, ""
        return ready


def _overlap(text: str, stop: str) -> int:
    """The length of the longest prefix of `stop` that ends the text."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
