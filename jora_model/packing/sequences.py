"""Training examples as token sequences with a loss mask, read from the files that `data` writes."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jora_model.packing.token_files import read_arrays
from user_error import UserError

_REMEDY = "build the dataset again"


@dataclass(frozen=True)
class Sequence:
    """One example: tokens int32 [T]; loss_mask bool [T], True where the token is trained on."""

    id: str
    tokens: np.ndarray
    loss_mask: np.ndarray

    @functools.cached_property
    def predict_at(self) -> np.ndarray:
        """Positions that predict a token trained on, int64, ascending."""
        return np.flatnonzero(self.loss_mask[1:])

    @property
    def first_prediction(self) -> int:
        """The first of `predict_at`; only the tokens before it may be shared with other examples."""
        return int(self.predict_at[0])


def read_sequences(folder: Path) -> list[Sequence]:
    """Read a folder of sequences.safetensors {tokens, loss_mask, offsets} and sequences.json {"ids"}.

    Raises:
        UserError: a file is missing or damaged, or an example (named) has no token to train on, or trains on its first
            token, which nothing predicts.
    """
    ids, arrays = read_arrays(folder, "sequences", ("tokens", "loss_mask"), _REMEDY)
    if not ids:
        raise UserError(f"{folder} holds no sequence; build a dataset with examples")
    sequences = [Sequence(name, tokens, mask.astype(bool)) for name, (tokens, mask) in zip(ids, arrays, strict=True)]
    for sequence in sequences:
        if not sequence.predict_at.size:
            raise UserError(f"example {sequence.id} has no token to train on; remove it from the dataset")
        if sequence.loss_mask[0]:
            raise UserError(f"example {sequence.id} trains on its first token, which nothing predicts; mask it")
    return sequences
