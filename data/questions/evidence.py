"""Whether a sentence supports an answer that does not stand in it: by words, vectors or a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.questions.candidates import Embed, ScorePairs
from data.text.support import content_words, held_share, split_words

_LEAST_SCORE = 0.5  # of a cross-encoder, which is a probability


@dataclass(frozen=True, slots=True)
class Support:
    """How support is measured; one of the measures that are there must confirm it.

    Attributes:
        least_recall: the least share of the answer's content words that the sentence holds. Of an answer without any
            (yes, no) the question's content words count: the sentence is then about what is asked, no more.
        least_cosine: the least cosine of answer and sentence.
        score: a cross-encoder's score of question and sentence, which must be at least 0.5.
    """

    least_recall: float | None = 0.6
    least_cosine: float | None = None
    score: ScorePairs | None = None

    def confirmed(self, question: str, answer: str, sentences: Sequence[str], embed: Embed) -> list[bool]:
        """For each sentence, whether it supports the answer."""
        recalls = [shared(question, answer, sentence) for sentence in sentences]
        confirmed = [self.least_recall is not None and recall >= self.least_recall for recall in recalls]
        if self.least_cosine is not None and sentences and content_words(answer, question):
            vectors = embed([answer, *sentences])
            near = vectors[1:] @ vectors[0] >= self.least_cosine
            confirmed = [one or bool(other) for one, other in zip(confirmed, near, strict=True)]
        if self.score is not None and sentences:
            scores = self.score([(question, sentence) for sentence in sentences])
            confirmed = [one or bool(score >= _LEAST_SCORE) for one, score in zip(confirmed, scores, strict=True)]
        return confirmed


def shared(question: str, answer: str, sentence: str) -> float:
    """The share of the answer's content words that a sentence holds; of the question's if the answer has none."""
    words = content_words(answer, sentence) or content_words(question)
    return held_share(words, set(split_words(sentence))) if words else 0.0
