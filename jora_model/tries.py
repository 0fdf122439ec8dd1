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

from jora_model.sequences import Sequence


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
        longer = self.reach > np.arange(1, self.reach.shape[1] + 1)
        return int(np.where(longer, self.reach, 0).max(axis=1).sum())

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
    """Sequences in lexicographic order; `shared[k]` tokens of number k are also the first of number k - 1."""

    sequences: list[Sequence]
    shared: np.ndarray

    def size(self, start: int, end: int) -> int:
        """Positions that the trie of sequences start..end takes."""
        lengths = sum(len(sequence.tokens) for sequence in self.sequences[start:end])
        return lengths - int(self.shared[start + 1 : end].sum())


def _key(sequence: Sequence) -> bytes:
    """The tokens that may be shared, as bytes that sort like the tokens (big-endian)."""
    return sequence.tokens[: sequence.first_prediction].astype(">i4").tobytes()


def _sort(sequences: Seq[Sequence]) -> _Sorted:
    keyed = sorted(((_key(sequence), sequence.id, sequence) for sequence in sequences), key=lambda item: item[:2])
    keys = [np.frombuffer(key, ">i4") for key, _, _ in keyed]
    shared = [0, *(_common(a, b) for a, b in itertools.pairwise(keys))]
    return _Sorted([sequence for _, _, sequence in keyed], np.array(shared, np.int64))


def _common(a: np.ndarray, b: np.ndarray) -> int:
    """Length of the common prefix."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length


def families(sequences: Seq[Sequence]) -> list[list[int]]:
    """Places of the sequences that belong together: neighbours that share at least half of their shareable prefix.

    A system prompt that all examples share does not make one family of them; a common context does.
    """
    order = _sort(sequences)
    place = {id(sequence): number for number, sequence in enumerate(sequences)}
    found: list[list[int]] = []
    for number, sequence in enumerate(order.sequences):
        limit = sequence.first_prediction
        if number:
            limit = min(limit, order.sequences[number - 1].first_prediction)
        if number and 2 * order.shared[number] >= max(limit, 1):
            found[-1].append(place[id(sequence)])
        else:
            found.append([place[id(sequence)]])
    return found


def pack(sequences: Seq[Sequence], row_length: int) -> Rows:
    """Pack sequences into as few rows as best fit finds, tries whole where they fit; nothing is cut or left out.

    Raises:
        ValueError: an example is longer than a row (named, with both lengths).
    """
    for sequence in sequences:
        if len(sequence.tokens) > row_length:
            raise ValueError(
                f"example {sequence.id} has {len(sequence.tokens)} tokens and training.row_length is {row_length}; "
                "raise it, or lower raft.max_tokens and build the dataset again"
            )
    order = _sort(sequences)
    bins: list[list[Sequence]] = []
    space: list[int] = []
    for start, end in sorted(_pieces(order, 0, len(sequences), row_length), key=lambda run: (-order.size(*run), run)):
        size = order.size(start, end)
        fitting = [number for number, free in enumerate(space) if free >= size]
        if fitting:
            best = min(fitting, key=lambda number: space[number])
        else:
            best = len(bins)
            bins.append([])
            space.append(row_length)
        bins[best] += order.sequences[start:end]
        space[best] -= size
    rows = [_row(_sort(members), row_length) for members in bins]
    return Rows(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _pieces(order: _Sorted, start: int, end: int, row_length: int) -> list[tuple[int, int]]:
    """Runs of sequences that fit in a row, cut where the least is shared."""
    if order.size(start, end) <= row_length:
        return [(start, end)]
    links = order.shared[start + 1 : end]
    cuts = (start + 1 + np.flatnonzero(links == links.min())).tolist()
    runs: list[tuple[int, int]] = []
    for a, b in zip([start, *cuts], [*cuts, end], strict=True):
        # Neighbours stay together as long as they fit: what they share is then stored once.
        if runs and order.size(runs[-1][0], b) <= row_length:
            runs[-1] = (runs[-1][0], b)
        else:
            runs.append((a, b))
    return [piece for run in runs for piece in _pieces(order, *run, row_length)]


def _row(order: _Sorted, row_length: int) -> dict[str, np.ndarray]:
    """One row: the trie of the sequences in depth-first order."""
    row = {name: np.zeros(row_length, np.int32) for name in ("tokens", "positions", "predict_at", "targets")}
    reach = np.arange(1, row_length + 1, dtype=np.int32)
    weights = np.zeros(row_length, np.float32)
    starts = []
    path = np.zeros(0, np.int64)
    place = predictions = 0
    for sequence, shared in zip(order.sequences, order.shared.tolist(), strict=True):
        new = len(sequence.tokens) - shared
        starts.append(place)
        row["tokens"][place : place + new] = sequence.tokens[shared:]
        row["positions"][place : place + new] = np.arange(shared, shared + new)
        path = np.concatenate([path[:shared], np.arange(place, place + new)])
        learnt = np.flatnonzero(sequence.loss_mask[1:])
        span = slice(predictions, predictions + len(learnt))
        row["predict_at"][span] = path[learnt]
        row["targets"][span] = sequence.tokens[learnt + 1]
        weights[span] = 1.0
        place += new
        predictions += len(learnt)
    for number, (start, shared) in enumerate(zip(starts, order.shared.tolist(), strict=True)):
        # A position at depth d is left where a later sequence shares no more than d tokens with this one.
        deepest = len(order.sequences[number].tokens)
        for later in range(number + 1, len(starts)):
            depth = max(int(order.shared[later]), shared)
            if depth < deepest:
                reach[start + depth - shared : start + deepest - shared] = starts[later]
                deepest = depth
            if deepest == shared:
                break
        reach[start : start + deepest - shared] = place
    return {**row, "reach": reach, "weights": weights}
