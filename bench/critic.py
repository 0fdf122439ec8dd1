"""What the critic rejects of good questions (ideally none) and of corrupted ones (ideally all).

    .venv/bin/python -m bench.critic --squad FILE [--quick]

The questions of a SQuAD file (such as the English part of XQuAD) are good: people wrote and checked them. The critic
judges them with the default settings as if a teacher had written them; each rejection is a false positive. Then the
same questions are corrupted, one way at a time, and the share that is caught is printed:

    slips       one or two letters of the quote changed: repaired to the original sentence
    rewritten   a third of the quote's words removed or replaced: rejected
    swapped     the answer of a question about another document: not supported by the quote
    pointing    "According to the passage, ...", "... in the text?": not self-contained
    cosine      good and swapped answers that pass `critic.answer_cosine` alone
    repeated    asked twice, the second time with its first word paraphrased: one of the two is rejected
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.machine import describe_machine
from data.critic.critique import CriticResult, filter_questions
from data.critic.settings import CriticSettings
from data.documents.chunks import ChunkSettings, chunk_documents
from data.questions.question_files import read_questions, squad_documents
from data.questions.questions import QuestionSettings, RawQuestion
from data.retrieval.embeddings import Embedder, resolve_embedder
from data.retrieval.index import ChunkIndex

POINTERS = (
    "According to the passage, {}?",
    "{} according to the text above?",
    "In the text, {}?",
    "Based on the article, {}?",
    "{}, as mentioned above?",
    "What does the author say: {}?",
)
REPEATS = (
    ("Who ", "Which person "),
    ("When ", "At what time "),
    ("Where ", "In what place "),
    ("Why ", "For what reason "),
    ("How many ", "What number of "),
    ("How ", "In which way "),
    ("What ", "Which "),
    ("Which ", "What "),
    ("?", ", please?"),
)
COSINES = (0.1, 0.2, 0.3, 0.4, 0.5)


class Bench:
    """A corpus and its critic; embeds each text once."""

    def __init__(self, squad: Path, quick: bool) -> None:
        self.documents = squad_documents(squad)[: 12 if quick else None]
        titles = {document.title for document in self.documents}
        self.good = [replace(raw, written=True) for raw in read_questions(squad) if raw.document in titles]
        self.chunks = chunk_documents(
            self.documents, lambda texts: [len(text.split()) for text in texts], ChunkSettings(max_tokens=200)
        )
        self.model = Embedder(resolve_embedder("embedded"))
        self.vectors: dict[str, np.ndarray] = {}
        self.index = ChunkIndex.build(
            self.embed([chunk.search_text for chunk in self.chunks]), [c.id for c in self.chunks], self.model.digest
        )
        self.embed([raw.question for raw in self.good])

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        fresh = [text for text in dict.fromkeys(texts) if text not in self.vectors]
        self.vectors.update(zip(fresh, self.model.embed(fresh), strict=True))
        return np.stack([self.vectors[text] for text in texts]) if texts else self.model.embed(texts)

    def judge(self, raws: Sequence[RawQuestion], settings: CriticSettings) -> CriticResult:
        def search(texts: Sequence[str], k: int) -> list[list[str]]:
            return self.index.search(self.embed(texts), k)[1]

        return filter_questions(raws, self.documents, self.chunks, QuestionSettings(), settings, self.embed, search)


def slip(quote: str, rng: random.Random) -> str:
    """Return the quote with one or two letters inside words replaced, removed or inserted."""
    characters = list(quote)
    inner = [i for i in range(1, len(quote) - 1) if quote[i - 1 : i + 2].isalpha()]
    for index in sorted(rng.sample(inner, min(rng.choice((1, 2)), len(inner))), reverse=True):
        letter = rng.choice([x for x in "abcdefghijklmnopqrstuvwxyz" if x != quote[index].lower()])
        characters[index : index + 1] = rng.choice(([letter], [], [letter, quote[index]]))
    return "".join(characters)


def rewrite(quote: str, rng: random.Random) -> str:
    """Return the quote with a third of its words removed or replaced by others."""
    words = quote.split()
    for index in sorted(rng.sample(range(len(words)), max(2, len(words) // 3)), reverse=True):
        if rng.random() < 0.5:
            del words[index]
        else:
            words[index] = rng.choice(words)
    return " ".join(words)


def other_words(question: str) -> str:
    """Return the question with slightly different wording."""
    changed = (question.replace(old, new, 1) for old, new in REPEATS if old in question)
    return next(changed, f"Please tell: {question}")


def swap_answers(raws: Sequence[RawQuestion], rng: random.Random) -> list[RawQuestion]:
    """Return each question with the answer of a question about another document."""
    swapped = []
    for raw in raws:
        others = [other for other in rng.sample(raws, 50) if other.document != raw.document]
        swapped.append(replace(raw, answer=others[0].answer))
    return swapped


def percent(part: int, total: int) -> float:
    return round(100 * part / total, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="What the critic rejects of good and of corrupted questions.")
    parser.add_argument("--squad", type=Path, required=True, help="a SQuAD-format file")
    parser.add_argument("--quick", action="store_true", help="only the first 12 articles")
    args = parser.parse_args()
    print(describe_machine("numpy", "py3langid", "sentence-transformers"))
    bench, settings, rng = Bench(args.squad, args.quick), CriticSettings(), random.Random(0)
    good = bench.good
    total = len(good)
    figures: dict[str, float] = {}

    begun = time.monotonic()
    judged = bench.judge(good, settings)
    seconds = time.monotonic() - begun
    print(f"{total} good questions, judged in {seconds:.1f} s (question and chunk embeddings excluded)")
    for row in judged.funnel:
        share = percent(row.rejected, total)
        print(f"  {row.filter:<18} rejects {row.rejected:4}  {share:5.1f}%")
        figures[f"false_positive_{row.filter.replace('-', '_')}_percent"] = share
    for rejected in judged.rejected:
        print(f"    {rejected.reason}: {rejected.question} ({rejected.detail[:100]})")
    figures["false_positive_percent"] = percent(len(judged.rejected), total)

    # Only the filter under test runs, so that the others cannot help it.
    alone = {"self_contained": False, "answer_recall": None, "strict_numbers": False, "near_duplicate": None}
    quoted = [raw for raw in good if raw.quotes and raw.answer in raw.quotes[0]]
    fair = CriticSettings(**alone, languages=())
    kept = {q.id for q in bench.judge(quoted, fair).questions}

    slipped = [replace(raw, quotes=(slip(raw.quotes[0], rng),)) for raw in quoted]
    judged = bench.judge(slipped, fair)
    true = {raw.question: " ".join(raw.quotes[0].split()) for raw in quoted}
    exact = sum(" ".join(" ".join(q.quotes).split()) == true[q.question] for q in judged.questions)
    print(f"slips: {exact} of {len(kept)} repaired correctly; {Counter(r.reason for r in judged.rejected)}")
    figures["repaired_quotes_percent"] = percent(exact, len(kept))
    figures["repaired_to_another_place"] = len(judged.questions) - exact

    judged = bench.judge([replace(raw, quotes=(rewrite(raw.quotes[0], rng),)) for raw in quoted], fair)
    figures["rewritten_quotes_caught_percent"] = percent(len(quoted) - len(judged.questions), len(quoted))

    support = fair.model_copy(update={"answer_recall": settings.answer_recall, "strict_numbers": True})
    swapped = swap_answers(quoted, rng)
    judged = bench.judge(swapped, support)
    figures["swapped_answers_caught_percent"] = percent(len(judged.rejected), len(quoted))

    # The cosine alone. It has no default, since a one-word answer is far from its sentence.
    for threshold in COSINES:
        near = fair.model_copy(update={"answer_cosine": threshold})
        for name, raws in (("good", quoted), ("swapped", swapped)):
            share = percent(len(bench.judge(raws, near).questions), len(raws))
            figures[f"{name}_answers_passed_by_cosine_{round(100 * threshold)}_percent"] = share

    pointing = [
        replace(raw, question=POINTERS[n % len(POINTERS)].format(raw.question.rstrip("?")))
        for n, raw in enumerate(good)
    ]
    judged = bench.judge(pointing, fair.model_copy(update={"self_contained": True}))
    caught = sum(rejected.reason == "not self-contained" for rejected in judged.rejected)
    figures["pointing_questions_caught_percent"] = percent(caught, total)

    once = {q.question for q in bench.judge(good, fair.model_copy(update={"near_duplicate": 0.9})).questions}
    pairs = {raw.question: replace(raw, question=other_words(raw.question)) for raw in good if raw.question in once}
    raws = [raw for raw in good if raw.question in pairs]
    for threshold in (0.9, settings.near_duplicate or 1.0):
        near = fair.model_copy(update={"near_duplicate": threshold})
        left = {q.question for q in bench.judge([*raws, *pairs.values()], near).questions}
        caught = sum(not {first, second.question} <= left for first, second in pairs.items())
        print(f"repeated: {caught} of {len(pairs)} pairs lose one at a cosine of {threshold}")
    figures["repeated_questions_caught_percent"] = percent(caught, len(pairs))

    for name, value in figures.items():
        print(f"figure {name} {value:g}")


if __name__ == "__main__":
    main()
