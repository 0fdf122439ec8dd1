"""General records mixed into the training examples, against forgetting.

They are a share of the training examples, drawn by the seed; validation and evaluation have none.
`AlpacaRecord.source` marks them. Records that are too long, or nearly repeat a held-out question, are skipped and
counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.documents.documents import decode_utf8
from data.prompting.prompts import AnyFormat, Prompt, holds_marker
from data.prompting.tokenizer import Tokenizer
from data.raft.alpaca import GENERAL, AlpacaRecord
from user_error import UserError


@dataclass(frozen=True, slots=True)
class GeneralRecord:
    """A record of an Alpaca dataset; `input` may be empty."""

    instruction: str
    input: str
    output: str

    @property
    def prompt(self) -> Prompt:
        """The record without its output."""
        return Prompt(self.instruction, self.input)


class Mixed(NamedTuple):
    """The records that are mixed in, and counts of those that were skipped."""

    records: list[AlpacaRecord]
    counts: dict[str, int]


def read_general(path: Path) -> list[GeneralRecord]:
    """The distinct records of an Alpaca file, `.json` (a list) or `.jsonl`; ignores keys other than the three.

    Raises:
        UserError: the file is missing, broken, of another format or empty; names the item.
    """
    path = Path(path)
    text = decode_utf8(path)
    try:
        if path.suffix == ".jsonl":
            items = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): give a .json list or .jsonl with one record a line") from None
    if not isinstance(items, list) or not items:
        raise UserError(f"{path} holds no list of records: give objects with instruction, input and output")
    return list(dict.fromkeys(_record(item, f"{path} item {number}") for number, item in enumerate(items, start=1)))


def mix_in(
    general: Sequence[GeneralRecord],
    examples: int,
    fraction: float,
    *,
    repeats: Callable[[Sequence[str]], Sequence[bool]],
    tokenizer: Tokenizer,
    style: AnyFormat,
    max_tokens: int,
    seed: int,
) -> Mixed:
    """Draws general records, as many as make them this share of all records; halves rounded up.

    Args:
        examples: number of RAFT examples.
        repeats: whether each text nearly repeats a held-out question.

    Raises:
        UserError: too few records can be used.
    """
    share = Fraction(str(fraction))
    wanted = int(examples * share / (1 - share) + Fraction(1, 2))
    waiting = np.random.default_rng([seed, len(general)]).permutation(len(general)).tolist()
    kept: list[GeneralRecord] = []
    counts = {"mixed in": wanted, "general records over the budget": 0, "general records near a held-out question": 0}
    marked = "general records with a marker of the output format"
    while len(kept) < wanted and waiting:
        drawn = [general[index] for index in waiting[: wanted - len(kept)]]
        del waiting[: len(drawn)]
        heads = tokenizer.encode_prompts([item.prompt for item in drawn], style)
        tails = tokenizer.encode_targets([item.output for item in drawn], style)
        for item, head, tail, near in zip(
            drawn, heads, tails, repeats([item.prompt.message for item in drawn]), strict=True
        ):
            if holds_marker(item.output):
                counts[marked] = counts.get(marked, 0) + 1
            elif near:
                counts["general records near a held-out question"] += 1
            elif len(head) + len(tail) > max_tokens:
                counts["general records over the budget"] += 1
            else:
                kept.append(item)
    if len(kept) < wanted:
        raise UserError(
            f"mix_fraction={fraction} of {examples + wanted} training examples needs {wanted} general records, but "
            f"mix_file has {len(kept)} usable ones: lower mix_fraction or add records"
        )
    return Mixed([_mixed(item) for item in kept], counts)


def _mixed(item: GeneralRecord) -> AlpacaRecord:
    digest = hashlib.sha256("\0".join((item.instruction, item.input, item.output)).encode()).hexdigest()[:16]
    return AlpacaRecord(
        id=f"general-{digest}",
        instruction=item.instruction,
        input=item.input,
        output=item.output,
        question_id="",
        group_id=f"general-{digest}",
        context_ids=(),
        oracle_ids=(),
        oracle_shown=False,
        source=GENERAL,
    )


def _record(item: Any, where: str) -> GeneralRecord:
    names = ("instruction", "input", "output")
    fields = {name: item.get(name, "") for name in names} if isinstance(item, dict) else {}
    if not fields or not all(isinstance(value, str) for value in fields.values()):
        raise UserError(f"{where} must be an object with the strings instruction, input and output")
    if not fields["instruction"].strip() or not fields["output"].strip():
        raise UserError(f"{where}: instruction and output must not be empty")
    try:
        "".join(fields.values()).encode()
    except UnicodeEncodeError:
        raise UserError(f"{where} holds an unpaired surrogate: correct its \\u escape") from None
    return GeneralRecord(**{name: value.strip() for name, value in fields.items()})
