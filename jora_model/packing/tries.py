"""Rows of training: examples packed into prefix tries (forest.py), in rows of fixed length.

A position that predicts a token trained on is never shared, so every example keeps its own loss, and a duplicate
example counts twice. The loss and the gradients equal those of the examples one by one. (Known for DPO and RL, arXiv
2410.20305.)
"""

import itertools
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np

from jora_model.packing.forest import Forest, build_forest
from jora_model.packing.sequences import Sequence
from user_error import UserError


@dataclass(frozen=True)
class Rows:
    """Packed rows, int32 [B, S] each but `weights` and `lengths`.

    Attributes:
        tokens, positions: position is the depth in the trie; padding is 0.
        reach: end of each position's subtree; padding reaches itself only.
        predict_at: positions that predict a token trained on, at the start of each row; then 0 with weight 0.
        targets: the token to predict at each of them.
        weights: float32 [B, S], 1 for a prediction, 0 for none.
        lengths: int32 [B], how many positions of each row hold a token.
    """

    tokens: np.ndarray
    positions: np.ndarray
    reach: np.ndarray
    predict_at: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def used(self) -> int:
        """Positions of all rows that hold a token."""
        return int(self.lengths.sum())

    def slice(self, start: int, count: int) -> "Rows":
        """`count` rows from `start`, padded with empty rows."""
        parts = {}
        for name, array in vars(self).items():
            part = array[start : start + count]
            missing = count - len(part)
            if missing:
                blank = np.zeros((missing, *array.shape[1:]), array.dtype)
                if name == "reach":
                    blank += np.arange(1, array.shape[1] + 1, dtype=np.int32)
                part = np.concatenate([part, blank])
            parts[name] = part
        return Rows(**parts)


def _forest(sequences: Seq[Sequence]) -> Forest:
    # Ties by id, so that the rows do not depend on the order in which the examples come.
    return build_forest(
        [sequence.tokens for sequence in sequences],
        [sequence.first_prediction for sequence in sequences],
        [sequence.id for sequence in sequences],
    )


# Indices of at most `limit` sequences, or smaller families.
Family = list[int] | list["Family"]


def families(sequences: Seq[Sequence], limit: int) -> list[Family]:
    """Group sequences: neighbors in sorted order that share more than half of their shareable prefix.

    A system prompt that all examples share does not make one family of them; a common context does. A family of more
    than `limit` is split into families in the same way, without the prefix that all of it shares.
    """
    forest = _forest(sequences)
    shareable = np.array([sequence.first_prediction for sequence in sequences], np.int64)

    found: list[Family] = []
    # Not by recursion: prefixes may be nested as deep as there are sequences.
    pending = [(found, 0, len(sequences), 0)]
    while pending:
        members, start, end, ignored = pending.pop()
        for a, b in forest.groups(shareable, start, end, ignored):
            if b - a <= limit:
                members.append(forest.order[a:b])
            else:
                inner: list[Family] = []
                members.append(inner)
                pending.append((inner, a, b, int(forest.shared[a + 1 : b].min())))
    return found


def pack(sequences: Seq[Sequence], row_length: int, long_from: int | None = None) -> Rows:
    """Pack sequences into few rows. A trie is split only where it does not fit in one; no sequence is cut or dropped.

    Best fit, largest first: a trie goes to the row where it adds the fewest positions, and among equal rows to the one
    with the least space.

    Args:
        long_from: sequences of more tokens have rows of their own, since all of a row is rotated alike
            (`ModelConfig.long_from`).

    Raises:
        UserError: an example is longer than a row (named, with both lengths).
    """
    for sequence in sequences:
        if len(sequence.tokens) > row_length:
            raise UserError(
                f"example {sequence.id} has {len(sequence.tokens)} tokens and training.row_length is {row_length}; "
                "raise it, or lower raft.max_tokens and build the dataset again"
            )
    if long_from is not None:
        long = [sequence for sequence in sequences if len(sequence.tokens) > long_from]
        short = [sequence for sequence in sequences if len(sequence.tokens) <= long_from]
        if long and short:
            halves = [vars(pack(half, row_length)) for half in (long, short)]
            return Rows(**{name: np.concatenate([half[name] for half in halves]) for name in halves[0]})
    forest = _forest(sequences)
    row_of = np.full(len(sequences), -1, np.int64)
    space: list[int] = []
    for start, end in sorted(_pieces(forest, row_length), key=lambda piece: (-forest.size(*piece), piece)):
        shared = np.zeros(len(space), np.int64)
        placed = row_of >= 0
        np.maximum.at(shared, row_of[placed], forest.shared_with(start, end)[placed])
        costs = forest.size(start, end) - shared
        fitting = [row for row, free in enumerate(space) if costs[row] <= free]
        if fitting:
            row = min(fitting, key=lambda row: (costs[row], space[row], row))
            space[row] -= int(costs[row])
        else:
            row = len(space)
            space.append(row_length - forest.size(start, end))
        row_of[start:end] = row
    members = [[sequences[forest.order[k]] for k in np.flatnonzero(row_of == row)] for row in range(len(space))]
    rows = [_row(sequences, row_length) for sequences in members]
    return Rows(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def pack_evenly(sequences: Seq[Sequence], row_length: int, parts: int = 1, long_from: int | None = None) -> Rows:
    """Pack into rows of at most `row_length`: the shortest of `row_lengths` that needs no more rows.

    As few rows as `pack` needs, rounded up to a multiple of `parts` where that makes them shorter: devices that take a
    row each get rows of one length. A program is compiled for each length, so there are few.

    Args:
        long_from: see `pack`.

    Raises:
        UserError: an example is longer than a row.
    """
    rows = pack(sequences, row_length, long_from)
    count = -(-len(rows) // parts) * parts
    longest = max(len(sequence.tokens) for sequence in sequences)
    for length in row_lengths(row_length):
        if longest <= length < row_length and rows.used <= length * count:
            shorter = pack(sequences, length, long_from)
            if len(shorter) <= count:
                rows = shorter
                break
    return _dealt(rows, parts)


def _dealt(rows: Rows, parts: int) -> Rows:
    """The rows in an order that gives `parts` devices, which take every `parts`-th row, about the same work."""
    if parts == 1:
        return rows
    pairs = (rows.reach - np.arange(rows.reach.shape[1])).sum(axis=1)
    # Measured (SmolLM2-135M, one core): a position costs as much as 1,250 visible pairs.
    order = np.argsort(-(pairs + 1250 * rows.lengths), kind="stable")
    rounds = [order[start : start + parts] for start in range(0, len(order), parts)]
    # Alternating direction: the device with the largest row of one round gets the smallest of the next.
    order = np.concatenate(
        [part[::-1] if number % 2 and len(part) == parts else part for number, part in enumerate(rounds)]
    )
    return Rows(**{name: array[order] for name, array in vars(rows).items()})


def row_lengths(row_length: int) -> list[int]:
    """Allowed row lengths: at most eight, multiples of 256 or of a multiple of it, and `row_length`; ascending.

    >>> row_lengths(1000), row_lengths(4096)[:2]
    ([256, 512, 768, 1000], [512, 1024])
    """
    step = 256 * -(-row_length // 2048)
    return [*range(step, row_length, step), row_length]


def _pieces(forest: Forest, row_length: int) -> list[tuple[int, int]]:
    """Ranges of sequences whose trie fits in a row; a larger trie is split at its first branch."""
    pending, pieces = [(0, len(forest.order))], []
    while pending:
        start, end = pending.pop()
        if forest.size(start, end) <= row_length:
            pieces.append((start, end))
            continue
        links = forest.shared[start + 1 : end]
        cuts = (start + 1 + np.flatnonzero(links == links.min())).tolist()
        pending += itertools.pairwise([start, *cuts, end])
    return pieces


def _row(sequences: Seq[Sequence], row_length: int) -> dict[str, np.ndarray]:
    """One row: the trie of the sequences."""
    forest = _forest(sequences)
    row = {name: np.zeros(row_length, np.int32) for name in ("predict_at", "targets")}
    weights = np.zeros(row_length, np.float32)
    predictions = 0
    for index, shared, start in zip(forest.order, forest.shared, forest.starts, strict=False):
        sequence = sequences[index]
        # Every prediction is behind the shared prefix.
        span = slice(predictions, predictions + len(sequence.predict_at))
        row["predict_at"][span] = start + sequence.predict_at - shared
        row["targets"][span] = sequence.tokens[sequence.predict_at + 1]
        weights[span] = 1.0
        predictions += len(sequence.predict_at)
    layout = forest.layout(row_length)._asdict()
    return {**layout, **row, "weights": weights, "lengths": np.array(forest.size(), np.int32)}
