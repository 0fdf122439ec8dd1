"""Prefix tries: examples that begin with the same tokens are stored once, in rows of fixed length.

    example 1   a b c d x       row        a b c d x e y
    example 2   a b c e y       position   0 1 2 3 4 3 4
                                reach      7 7 7 5 5 7 7      query i sees key j exactly when j <= i < reach[j]

From token sequences alone; nothing here knows where they come from. A position that predicts a learnt token is never
shared, so every example keeps its own loss, and an example that stands twice counts twice. The loss and the gradients
equal those of the examples one by one. (Known for DPO and RL, arXiv 2410.20305.)
"""

import itertools
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np

from jora_model.packing.sequences import Sequence
from jora_model.packing.tiles import last_place
from user_error import UserError


@dataclass(frozen=True)
class Rows:
    """Packed rows, int32 [B, S] each but `weights`.

    Attributes:
        tokens, positions: position is the depth in the trie; padding is 0.
        reach: end of each position's subtree; padding reaches itself only.
        predict_at: places whose next token is learnt, first in each row; the rest is 0 with weight 0.
        targets: the token to predict there.
        weights: float32 [B, S], 1 for a prediction, 0 for none.
    """

    tokens: np.ndarray
    positions: np.ndarray
    reach: np.ndarray
    predict_at: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def used(self) -> int:
        """Positions that hold a token: the end of the last trie of each row, summed."""
        return int(last_place(self.reach).sum())

    def slice(self, start: int, count: int) -> "Rows":
        """`count` rows from `start`, filled up with empty rows."""
        parts = {}
        for name, array in vars(self).items():
            part = array[start : start + count]
            missing = count - len(part)
            if missing:
                blank = np.zeros((missing, array.shape[1]), array.dtype)
                if name == "reach":
                    blank += np.arange(1, array.shape[1] + 1, dtype=np.int32)
                part = np.concatenate([part, blank])
            parts[name] = part
        return Rows(**parts)


@dataclass(frozen=True)
class _Sorted:
    """Sequences in lexicographic order of what they may share.

    Attributes:
        places: where each stood before.
        shared: `shared[k]` tokens of number k are also the first of number k - 1; 0 for the first.
        ends: `ends[k]` positions are new in the first k sequences, int64 [N + 1].
    """

    sequences: list[Sequence]
    places: list[int]
    shared: np.ndarray
    ends: np.ndarray

    def size(self, start: int, end: int) -> int:
        """Positions that the trie of sequences start..end takes."""
        repeated = int(self.shared[start]) if start < end else 0
        return int(self.ends[end] - self.ends[start]) + repeated

    def shared_with(self, start: int, end: int) -> np.ndarray:
        """Length of the prefix that each sequence shares with its nearest one of start..end, int64 [N]."""
        before = np.minimum.accumulate(self.shared[start:0:-1])[::-1]
        after = np.minimum.accumulate(self.shared[end:])
        return np.concatenate([before, self.shared[start:end], after])


def _key(sequence: Sequence) -> bytes:
    """The tokens that may be shared, as bytes that sort like the tokens (big-endian)."""
    return sequence.tokens[: sequence.first_prediction].astype(">i4").tobytes()


def _sort(sequences: Seq[Sequence]) -> _Sorted:
    keys = [_key(sequence) for sequence in sequences]
    # By id as well, so that the rows do not depend on the order in which the examples come.
    places = sorted(range(len(sequences)), key=lambda place: (keys[place], sequences[place].id))
    found = [sequences[place] for place in places]
    tokens = [sequence.tokens[: sequence.first_prediction] for sequence in found]
    shared = np.array([0, *(_common(a, b) for a, b in itertools.pairwise(tokens))], np.int64)
    lengths = np.array([len(sequence.tokens) for sequence in found], np.int64)
    return _Sorted(found, places, shared, np.concatenate([[0], np.cumsum(lengths - shared)]))


def _common(a: np.ndarray, b: np.ndarray) -> int:
    """Length of the common prefix."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length


# Places of at most `limit` sequences that belong together, or families that do.
Family = list[int] | list["Family"]


def families(sequences: Seq[Sequence], limit: int) -> list[Family]:
    """What belongs together: neighbours that share more than half of their shareable prefix.

    A system prompt that all examples share does not make one family of them; a common context does. A family of more
    than `limit` is a family of families: what all of it shares is set aside, and the rest is asked the same question.
    """
    order = _sort(sequences)
    shareable = np.array([sequence.first_prediction for sequence in order.sequences], np.int64)

    def divide(start: int, end: int, aside: int) -> list[Family]:
        links = order.shared[start + 1 : end] - aside
        apart = 2 * links <= np.minimum(shareable[start : end - 1], shareable[start + 1 : end]) - aside
        cuts = (start + 1 + np.flatnonzero(apart)).tolist()
        return [
            order.places[a:b] if b - a <= limit else divide(a, b, int(order.shared[a + 1 : b].min()))
            for a, b in itertools.pairwise([start, *cuts, end])
        ]

    return divide(0, len(sequences), 0)


def pack(sequences: Seq[Sequence], row_length: int) -> Rows:
    """Pack sequences into few rows, tries whole where they fit; nothing is cut short or left out.

    Best fit, largest first: a trie goes where it shares the most with what is there already, and among such rows where
    the least room stays.

    Raises:
        UserError: an example is longer than a row (named, with both lengths).
    """
    for sequence in sequences:
        if len(sequence.tokens) > row_length:
            raise UserError(
                f"example {sequence.id} has {len(sequence.tokens)} tokens and training.row_length is {row_length}; "
                "raise it, or lower raft.max_tokens and build the dataset again"
            )
    order = _sort(sequences)
    row_of = np.full(len(sequences), -1, np.int64)
    space: list[int] = []
    for start, end in sorted(_pieces(order, row_length), key=lambda piece: (-order.size(*piece), piece)):
        shared = np.zeros(len(space), np.int64)
        placed = row_of >= 0
        np.maximum.at(shared, row_of[placed], order.shared_with(start, end)[placed])
        costs = order.size(start, end) - shared
        fitting = [row for row, free in enumerate(space) if costs[row] <= free]
        if fitting:
            row = min(fitting, key=lambda row: (costs[row], space[row], row))
            space[row] -= int(costs[row])
        else:
            row = len(space)
            space.append(row_length - order.size(start, end))
        row_of[start:end] = row
    members = [[order.sequences[place] for place in np.flatnonzero(row_of == row)] for row in range(len(space))]
    rows = [_row(_sort(sequences), row_length) for sequences in members]
    return Rows(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def pack_evenly(sequences: Seq[Sequence], row_length: int, parts: int = 1) -> Rows:
    """Pack into rows of at most `row_length`, as short as one of a few lengths allows without more rows.

    As few rows as `pack` needs, but a multiple of `parts` where that lets them be shorter: devices that take a row each
    get rows of one length. A program is compiled for each length, hence the few.

    Raises:
        UserError: an example is longer than a row.
    """
    rows = pack(sequences, row_length)
    count = -(-len(rows) // parts) * parts
    longest = max(len(sequence.tokens) for sequence in sequences)
    for length in row_lengths(row_length):
        if longest <= length < row_length and rows.used <= length * count:
            shorter = pack(sequences, length)
            if len(shorter) <= count:
                rows = shorter
                break
    return _dealt(rows, parts)


def _dealt(rows: Rows, parts: int) -> Rows:
    """The rows in such an order that `parts` devices, taking turns, get about the same work each."""
    if parts == 1:
        return rows
    positions = last_place(rows.reach)
    pairs = (rows.reach - np.arange(rows.reach.shape[1])).sum(axis=1)
    # Measured (SmolLM2-135M, one core): a position costs as much as 1,250 visible pairs.
    order = np.argsort(-(pairs + 1250 * positions), kind="stable")
    rounds = [order[start : start + parts] for start in range(0, len(order), parts)]
    # There and back again, so that who takes the largest of one round takes the smallest of the next.
    order = np.concatenate(
        [part[::-1] if number % 2 and len(part) == parts else part for number, part in enumerate(rounds)]
    )
    return Rows(**{name: array[order] for name, array in vars(rows).items()})


def row_lengths(row_length: int) -> list[int]:
    """The lengths that rows may have: at most eight, steps of 256 or multiples of it, ascending.

    >>> row_lengths(1000), row_lengths(4096)[:2]
    ([256, 512, 768, 1000], [512, 1024])
    """
    step = 256 * -(-row_length // 2048)
    return [*range(step, row_length, step), row_length]


def _pieces(order: _Sorted, row_length: int) -> list[tuple[int, int]]:
    """Runs of sequences whose trie fits in a row; a larger trie is cut at its first branching."""
    pending, pieces = [(0, len(order.sequences))], []
    while pending:
        start, end = pending.pop()
        if order.size(start, end) <= row_length:
            pieces.append((start, end))
            continue
        links = order.shared[start + 1 : end]
        cuts = (start + 1 + np.flatnonzero(links == links.min())).tolist()
        pending += itertools.pairwise([start, *cuts, end])
    return pieces


def _row(order: _Sorted, row_length: int) -> dict[str, np.ndarray]:
    """One row: the trie of the sequences in depth-first order."""
    row = {name: np.zeros(row_length, np.int32) for name in ("tokens", "positions", "predict_at", "targets")}
    reach = np.arange(1, row_length + 1, dtype=np.int32)
    weights = np.zeros(row_length, np.float32)
    predictions = 0
    for sequence, shared, start in zip(order.sequences, order.shared.tolist(), order.ends[:-1].tolist(), strict=True):
        own = slice(start, start + len(sequence.tokens) - shared)
        row["tokens"][own] = sequence.tokens[shared:]
        row["positions"][own] = np.arange(shared, len(sequence.tokens))
        # Every prediction lies behind what is shared.
        span = slice(predictions, predictions + len(sequence.learnt))
        row["predict_at"][span] = start + sequence.learnt - shared
        row["targets"][span] = sequence.tokens[sequence.learnt + 1]
        weights[span] = 1.0
        predictions += len(sequence.learnt)
    # By depth: where the first later sequence begins that leaves a position of this depth.
    leaves = np.full(max(len(sequence.tokens) for sequence in order.sequences), order.ends[-1], np.int32)
    for number in reversed(range(len(order.sequences))):
        start, shared, length = order.ends[number], order.shared[number], len(order.sequences[number].tokens)
        reach[start : start + length - shared] = leaves[shared:length]
        leaves[shared:] = start
    return {**row, "reach": reach, "weights": weights}
