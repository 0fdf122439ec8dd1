"""Answers for a person to read: which are shown beside each other, and on which passages they rest.

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
from data.scoring.scores import stands_in

_LONGEST = 1200  # characters of a question, an answer or a quote
_QUOTES = 5  # of an answer: a model that repeats itself gives many
_SHORTEST = 3  # characters of what is marked: a single letter stands everywhere
_AROUND = 220  # characters shown on each side of what is marked
_PASSAGES = 2  # of the oracles, and of the distractors that are quoted


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """One answer of one rung, as the evaluation wrote it.

    Attributes:
        right: it matches exactly, or abstains where it is to.
        cause: why it is not right; empty where it is, or where nothing says why.
        kind: of the question; may be empty.
        output_tokens: length of the output; 0 where it was not counted.
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
    """A line of answers.jsonl; fields that only newer evaluations have may be absent.

    Raises:
        KeyError: it is no answer.
    """
    cause = line.get("cause") or ""
    quotes = tuple(line["quotes"])
    return GivenAnswer(
        rung=line["rung"],
        question_id=line["question_id"],
        question=line["question"],
        expected=line["expected"],
        # The format is taken apart where there is one; what is not in it is shown as it came.
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
    """Questions with the answers of two rungs, drawn so that nobody chose them.

    Of the questions that both answer right, only one does, and neither does, each kind gets a share of the examples
    like its share of the questions, at least one, and they are spread evenly over it.

    Args:
        base, tuned: names of rungs; the same one twice shows it alone.
        proofs: question id -> the quotes that prove its answer.

    Returns:
        The examples, and a line that says how many questions were of each kind.
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
        names = {(True, True): "it answers right", (False, False): "it does not answer right"}
    both = [rungs for rungs in by_question.values() if base in rungs and tuned in rungs]
    for key, name in names.items():
        kinds[name] = [rungs for rungs in both if (rungs[base].right, rungs[tuned].right) == key]
    chosen = []
    for name, share in _shares({name: len(kind) for name, kind in kinds.items()}, count).items():
        kind = kinds[name]
        chosen += [kind[(2 * n + 1) * len(kind) // (2 * share)] for n in range(share)]
    told = ", ".join(f"{len(kind)} that {name}" for name, kind in kinds.items() if kind)
    shown = [show_question([rungs[rung] for rung in dict.fromkeys((base, tuned))], chunks, proofs) for rungs in chosen]
    return shown, f"{len(chosen)} of {len(both)} questions, spread evenly over each kind: {told}."


def group_failures(
    answers: Iterable[GivenAnswer], rung: str, chunks: Mapping[str, Chunk], proofs: Mapping[str, Sequence[str]]
) -> list[Failures]:
    """The wrong answers of a rung by their cause, the commonest first, each with the one in the middle."""
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
    """A question with some rungs' answers, and the passages of the last one: oracles, and distractors it quotes."""
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
    said = [_said(given, chunks) for given in answers]
    return ShownQuestion(_cut(last.question, _LONGEST), _cut(last.expected, _LONGEST), last.kind, said, passages)


def excerpt(pieces: Sequence[MarkedPiece]) -> tuple[MarkedPiece, ...]:
    """What is marked, with so much of the text around it that a person sees where it stands."""
    if all(kind == PLAIN for _, kind in pieces):
        text = "".join(text for text, _ in pieces)
        return ((_cut(text, 2 * _AROUND), PLAIN),)
    shown = []
    for number, (text, kind) in enumerate(pieces):
        if kind != PLAIN:
            shown.append((_cut(text, _LONGEST), kind))
            continue
        before, after = number > 0, number < len(pieces) - 1
        if len(text) > _AROUND * (before + after):
            head = _cut(text, _AROUND) if before else "…"
            # Cut from its end, as the head is from its beginning.
            tail = _cut(text[::-1], _AROUND)[::-1] if after else ""
            text = f"{head.removesuffix('…')}{tail}" if after else head
        shown.append((text, PLAIN))
    return tuple(shown)


def _said(given: GivenAnswer, chunks: Mapping[str, Chunk]) -> ShownAnswer:
    context = [chunks[id] for id in given.context_ids if id in chunks]
    quotes = []
    for quote in given.quotes[:_QUOTES]:
        found = next((chunk.place for chunk in context if stands_in(quote, [chunk])), "")
        quotes.append(ShownQuote(_cut(quote, _LONGEST), found))
    return ShownAnswer(given.rung, _cut(given.text, _LONGEST), quotes, given.right)


def _marked(text: str, quotes: Sequence[str], kind: str) -> list[MarkedPiece]:
    worth = [quote for quote in quotes if len(quote.strip()) >= _SHORTEST]
    return [(piece, kind if quoted else PLAIN) for piece, quoted in mark_quotes(text, worth)]


def _place(chunk: Chunk) -> str:
    return " > ".join((chunk.place, *chunk.heading_path[-1:]))


def _cut(text: str, length: int) -> str:
    """The beginning of a text, as far as a word's end where one is near."""
    if len(text) <= length:
        return text
    cut = text[:length]
    shorter = re.sub(r"\s\S{0,20}\Z", "", cut)
    return f"{(shorter or cut).rstrip()} …"


def _shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of `count` each kind gets: one at least where it has one, the rest by size."""
    there = {name: size for name, size in sizes.items() if size}
    shares = dict.fromkeys(there, 1)
    total = sum(there.values())
    while sum(shares.values()) < min(count, total):
        # The kind that is furthest below its share, and has more.
        free = [name for name in there if shares[name] < there[name]]
        short = max(free, key=lambda name: count * there[name] / total - shares[name])
        shares[short] += 1
    return shares
