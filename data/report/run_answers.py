"""Chooses answers for people to read, with the passages that they come from.

answers.jsonl --read--> GivenAnswer --choose_examples, group_failures--> ShownQuestion
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.documents.chunks import Chunk
from data.report.highlight import mark_quotes
from data.report.run_facts import (
    PLAIN,
    PROOF,
    QUOTED,
    Failures,
    MarkedPiece,
    Passage,
    ShownAnswer,
    ShownQuestion,
    ShownQuote,
)
from data.scoring.evaluated import say_expected
from data.scoring.scores import stands_in

_MAX_CHARACTERS = 1200  # of a question, an answer or a quote
_QUOTES = 5  # of an answer: a model that repeats itself writes many
_MIN_MARKED = 3  # characters of a marked quote: a single letter occurs everywhere
_AROUND = 220  # characters shown on each side of a marked piece
_PASSAGES = 2  # of the oracles, and of the quoted distractors


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """One answer of one rung, as the evaluation wrote it.

    Attributes:
        right: exact match, or a due abstention.
        cause: why it is wrong; empty if right or unknown.
        kind: of the question; may be empty.
        output_tokens: length of the output; 0 if not counted.
    """

    rung: str
    question_id: str
    question: str
    expected: str
    text: str
    quotes: tuple[str, ...]
    context_ids: tuple[str, ...]
    oracle_ids: tuple[str, ...]
    right: bool
    cause: str
    kind: str
    output_tokens: int


def read_answer(line: Mapping[str, Any]) -> GivenAnswer:
    """The answer in a line of answers.jsonl. Fields that older evaluations lack may be absent.

    Raises:
        KeyError: a field that every evaluation has is missing.
    """
    cause = line.get("cause") or ""
    quotes = tuple(line["quotes"])
    return GivenAnswer(
        rung=line["rung"],
        question_id=line["question_id"],
        question=line["question"],
        expected=say_expected(line["expected"], line.get("also_expected", ())),
        # An output that is not in the trained format is shown unparsed.
        text=line["answer"] if quotes or line["answer"].strip() else line["output"].strip(),
        quotes=quotes,
        context_ids=tuple(line["context_ids"]),
        oracle_ids=tuple(line["oracle_ids"]),
        right=not cause if "cause" in line else line["exact_match"] >= 1,
        cause=cause,
        kind=line.get("kind") or "",
        output_tokens=line.get("output_tokens") or 0,
    )


def choose_examples(
    answers: Iterable[GivenAnswer],
    base: str,
    tuned: str,
    chunks: Mapping[str, Chunk],
    proofs: Mapping[str, Sequence[str]],
    count: int = 10,
) -> tuple[list[ShownQuestion], str]:
    """Questions with the answers of two rungs, a representative sample.

    Questions are grouped by which of the two rungs answers right. Each group gets examples in proportion to its size,
    at least one, spread evenly over the group.

    Args:
        base, tuned: names of rungs; the same name twice shows one rung alone.
        proofs: question id -> the quotes that prove its answer.

    Returns:
        The examples, and a line with the number of questions in each group.
    """
    by_question: dict[str, dict[str, GivenAnswer]] = {}
    for given in answers:
        if given.rung in (base, tuned):
            by_question.setdefault(given.question_id, {})[given.rung] = given
    kinds: dict[str, list[dict[str, GivenAnswer]]] = {}
    names = {
        (False, True): f"only {tuned} answers right",
        (True, True): "both answer right",
        (False, False): "neither answers right",
        (True, False): f"only {base} answers right",
    }
    if base == tuned:
        names = {(True, True): "it answers right", (False, False): "it answers wrong"}
    both = [rungs for rungs in by_question.values() if base in rungs and tuned in rungs]
    for key, name in names.items():
        kinds[name] = [rungs for rungs in both if (rungs[base].right, rungs[tuned].right) == key]
    chosen = []
    for name, share in _shares({name: len(kind) for name, kind in kinds.items()}, count).items():
        kind = kinds[name]
        chosen += [kind[(2 * n + 1) * len(kind) // (2 * share)] for n in range(share)]
    sizes = ", ".join(f"{len(kind)} that {name}" for name, kind in kinds.items() if kind)
    shown = [show_question([rungs[rung] for rung in dict.fromkeys((base, tuned))], chunks, proofs) for rungs in chosen]
    return shown, f"{len(chosen)} of {len(both)} questions, spread evenly over each group: {sizes}."


def group_failures(
    answers: Iterable[GivenAnswer], rung: str, chunks: Mapping[str, Chunk], proofs: Mapping[str, Sequence[str]]
) -> list[Failures]:
    """The wrong answers of a rung by cause, the most frequent first, each with the middle one as example."""
    groups: dict[str, list[GivenAnswer]] = {}
    for given in answers:
        if given.rung == rung and given.cause:
            groups.setdefault(given.cause, []).append(given)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        Failures(cause, len(group), show_question([group[len(group) // 2]], chunks, proofs)) for cause, group in ordered
    ]


def show_question(
    answers: Sequence[GivenAnswer], chunks: Mapping[str, Chunk], proofs: Mapping[str, Sequence[str]]
) -> ShownQuestion:
    """A question with the rungs' answers and passages of the last one: oracles and quoted distractors."""
    last = answers[-1]
    passages = []
    for id in last.oracle_ids[:_PASSAGES]:
        if id in chunks:
            pieces = _marked(chunks[id].text, last.quotes, QUOTED)
            if all(kind == PLAIN for _, kind in pieces):
                pieces = _marked(chunks[id].text, proofs.get(last.question_id, ()), PROOF)
            passages.append(Passage(_place(chunks[id]), excerpt(pieces), oracle=True, retrieved=id in last.context_ids))
    others = [chunks[id] for id in last.context_ids if id in chunks and id not in last.oracle_ids]
    believed = [chunk for chunk in others if any(stands_in(quote, [chunk]) for quote in last.quotes)]
    passages += [
        Passage(_place(chunk), excerpt(_marked(chunk.text, last.quotes, QUOTED)), oracle=False, retrieved=True)
        for chunk in believed[:_PASSAGES] or ([] if passages else others[:1])
    ]
    shown = [_shown_answer(given, chunks) for given in answers]
    return ShownQuestion(
        _cut(last.question, _MAX_CHARACTERS), _cut(last.expected, _MAX_CHARACTERS), last.kind, shown, passages
    )


def excerpt(pieces: Sequence[MarkedPiece]) -> tuple[MarkedPiece, ...]:
    """The marked pieces with some text around them."""
    if all(kind == PLAIN for _, kind in pieces):
        text = "".join(text for text, _ in pieces)
        return ((_cut(text, 2 * _AROUND), PLAIN),)
    shown = []
    for number, (text, kind) in enumerate(pieces):
        if kind != PLAIN:
            shown.append((_cut(text, _MAX_CHARACTERS), kind))
            continue
        before, after = number > 0, number < len(pieces) - 1
        if len(text) > _AROUND * (before + after):
            head = _cut(text, _AROUND) if before else "…"
            # Cut at its start, as the head is at its end.
            tail = _cut(text[::-1], _AROUND)[::-1] if after else ""
            text = f"{head.removesuffix('…')}{tail}" if after else head
        shown.append((text, PLAIN))
    return tuple(shown)


def _shown_answer(given: GivenAnswer, chunks: Mapping[str, Chunk]) -> ShownAnswer:
    context = [chunks[id] for id in given.context_ids if id in chunks]
    quotes = []
    for quote in given.quotes[:_QUOTES]:
        place = next((chunk.place for chunk in context if stands_in(quote, [chunk])), "")
        quotes.append(ShownQuote(_cut(quote, _MAX_CHARACTERS), place))
    return ShownAnswer(given.rung, _cut(given.text, _MAX_CHARACTERS), quotes, given.right)


def _marked(text: str, quotes: Sequence[str], kind: str) -> list[MarkedPiece]:
    long_enough = [quote for quote in quotes if len(quote.strip()) >= _MIN_MARKED]
    return [(piece, kind if quoted else PLAIN) for piece, quoted in mark_quotes(text, long_enough)]


def _place(chunk: Chunk) -> str:
    return " > ".join((chunk.place, *chunk.heading_path[-1:]))


def _cut(text: str, length: int) -> str:
    """The text truncated, at the end of a word if one is near."""
    if len(text) <= length:
        return text
    cut = text[:length]
    shorter = re.sub(r"\s\S{0,20}\Z", "", cut)
    return f"{(shorter or cut).rstrip()} …"


def _shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of `count` each kind gets: at least one if it is not empty, the rest by size."""
    present = {name: size for name, size in sizes.items() if size}
    shares = dict.fromkeys(present, 1)
    total = sum(present.values())
    while sum(shares.values()) < min(count, total):
        # The kind furthest below its share that has more.
        free = [name for name in present if shares[name] < present[name]]
        short = max(free, key=lambda name: count * present[name] / total - shares[name])
        shares[short] += 1
    return shares
