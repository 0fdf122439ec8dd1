"""Sequences: examples as tokens and loss masks, prompts as tokens, and their files.

Training reads a directory of sequences:

    sequences.safetensors  tokens int32 [total], loss_mask bool [total], offsets int64 [N + 1]
    sequences.json         {"ids": [...]}, N example ids

where sequence n is tokens[offsets[n]:offsets[n + 1]]. Generation reads a directory of prompts, prompts.safetensors and
prompts.json in the same format without loss_mask, and writes answers.safetensors and answers.json, with "overruled"
beside "ids". The directory of prompts may also hold

    grammars.json  {"grammars": [...], "of": [index in grammars or null, for each prompt]}, which constrain answers
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from data.prompting.prompts import AnyFormat, Prompt
from data.prompting.tokenizer import Tokenizer
from data.raft.alpaca import AlpacaRecord
from user_error import UserError

GRAMMARS_NAME = "grammars.json"
_SEQUENCES, _PROMPTS, _ANSWERS = "sequences", "prompts", "answers"


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """A training example as tokens.

    Attributes:
        id: the record's.
        tokens: int32 [T], prompt and target.
        loss_mask: bool [T], True for tokens of the target, its end-of-turn token included.
    """

    id: str
    tokens: np.ndarray
    loss_mask: np.ndarray


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A prompt as tokens, int32 [T]."""

    id: str
    tokens: np.ndarray


def encode_records(records: Sequence[AlpacaRecord], tokenizer: Tokenizer, style: AnyFormat) -> list[TokenSequence]:
    """Each record's prompt and target, encoded separately and joined, so that prompts are as in generation."""
    heads = tokenizer.encode_prompts([record.prompt for record in records], style)
    tails = tokenizer.encode_targets([record.output for record in records], style)
    sequences = []
    for record, head, tail in zip(records, heads, tails, strict=True):
        loss_mask = np.arange(len(head) + len(tail)) >= len(head)
        sequences.append(TokenSequence(record.id, np.array([*head, *tail], np.int32), loss_mask))
    return sequences


def encode_prompts(
    ids: Sequence[str], prompts: Sequence[Prompt], tokenizer: Tokenizer, style: AnyFormat
) -> list[TokenPrompt]:
    """The prompts as tokens, with their ids."""
    encoded = tokenizer.encode_prompts(prompts, style)
    return [TokenPrompt(id, np.array(tokens, np.int32)) for id, tokens in zip(ids, encoded, strict=True)]


def write_sequences(folder: Path, sequences: Sequence[TokenSequence]) -> None:
    """Writes both files into an existing directory; the same sequences give the same bytes."""
    masks = [np.zeros(0, np.bool_), *(sequence.loss_mask for sequence in sequences)]
    _write(folder, _SEQUENCES, sequences, {"loss_mask": np.concatenate(masks)})


def read_sequences(folder: Path) -> list[TokenSequence]:
    """The sequences in a directory.

    Raises:
        UserError: a file is missing or broken; names the directory.
    """
    ids, arrays = _read(folder, _SEQUENCES, ("tokens", "loss_mask", "offsets"))
    spans = _spans(arrays["offsets"])
    tokens, loss_mask = arrays["tokens"], arrays["loss_mask"].astype(np.bool_)
    return [TokenSequence(id, tokens[span], loss_mask[span]) for id, span in zip(ids, spans, strict=True)]


def write_prompts(folder: Path, prompts: Sequence[TokenPrompt]) -> None:
    """Writes both files into an existing directory; the same prompts give the same bytes."""
    _write(folder, _PROMPTS, prompts, {})


def write_grammars(folder: Path, grammars: Sequence[str | None]) -> None:
    """Writes the grammar of each prompt, each distinct grammar once, into an existing directory."""
    indices: dict[str, int] = {}
    of = [None if grammar is None else indices.setdefault(grammar, len(indices)) for grammar in grammars]
    text = json.dumps({"grammars": list(indices), "of": of}, ensure_ascii=False)
    (Path(folder) / GRAMMARS_NAME).write_text(text + "\n", encoding="utf-8")


def read_prompts(folder: Path) -> list[TokenPrompt]:
    """The prompts in a directory.

    Raises:
        UserError: a file is missing or broken; names the directory.
    """
    ids, arrays = _read(folder, _PROMPTS, ("tokens", "offsets"))
    spans = _spans(arrays["offsets"])
    return [TokenPrompt(id, arrays["tokens"][span]) for id, span in zip(ids, spans, strict=True)]


def read_answers(folder: Path) -> list[np.ndarray]:
    """The generated tokens, int32 [T] each, in the order of the prompts.

    Raises:
        UserError: a file is missing or broken; names the directory.
    """
    _, arrays = _read(folder, _ANSWERS, ("tokens", "offsets"))
    return [arrays["tokens"][span] for span in _spans(arrays["offsets"])]


def read_overruled(folder: Path) -> list[int | None]:
    """The number of tokens of each answer that the grammar of its prompt changed; None for prompts without a grammar.

    Raises:
        UserError: the file is missing or broken; names the directory.
    """
    path = Path(folder) / f"{_ANSWERS}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return list(content.get("overruled") or [None] * len(content["ids"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the {_ANSWERS} in {folder} cannot be read ({type(error).__name__}): rebuild them") from None


def length_statistics(sequences: Sequence[TokenSequence | TokenPrompt]) -> dict[str, int]:
    """Lengths in tokens: total, shortest, median, 95th percentile, longest; for training also answer tokens."""
    lengths = np.array([len(sequence.tokens) for sequence in sequences], np.int64)
    statistics = {"sequences": len(lengths), "tokens": int(lengths.sum())}
    if len(lengths):
        # Observed lengths, not interpolated ones.
        quantiles = np.quantile(lengths, (0, 0.5, 0.95, 1), method="inverted_cdf")
        names = ("shortest", "median", "95th percentile", "longest")
        statistics |= {name: int(value) for name, value in zip(names, quantiles, strict=True)}
    answers = [int(sequence.loss_mask.sum()) for sequence in sequences if isinstance(sequence, TokenSequence)]
    return statistics | ({"answer tokens": sum(answers)} if answers else {})


def _write(
    folder: Path, name: str, items: Sequence[TokenSequence] | Sequence[TokenPrompt], extra: dict[str, np.ndarray]
) -> None:
    from safetensors.numpy import save_file

    tokens = np.concatenate([np.zeros(0, np.int32), *(item.tokens for item in items)])
    offsets = np.cumsum([0, *(len(item.tokens) for item in items)], dtype=np.int64)
    folder = Path(folder)
    save_file({"tokens": tokens, "offsets": offsets, **extra}, folder / f"{name}.safetensors")
    text = json.dumps({"ids": [item.id for item in items]}, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _read(folder: Path, name: str, keys: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        ids = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["ids"]
        arrays = load_file(folder / f"{name}.safetensors")
        sizes = {len(arrays[key]) for key in keys if key != "offsets"} | {int(arrays["offsets"][-1])}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"the {name} in {folder} cannot be read ({type(error).__name__}): rebuild them") from None
    if len(sizes) != 1 or len(arrays["offsets"]) != len(ids) + 1:
        raise UserError(f"the {name} in {folder} do not fit together: rebuild them")
    return ids, arrays


def _spans(offsets: np.ndarray) -> list[slice]:
    return [slice(start, end) for start, end in pairwise(offsets.tolist())]
