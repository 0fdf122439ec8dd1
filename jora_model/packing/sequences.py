"""The seam with the data: sequences of tokens with a mask of what is learnt, as files."""

import functools
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from user_error import UserError


@dataclass(frozen=True)
class Sequence:
    """One example: tokens int32 [T]; loss_mask bool [T], True where the token is learnt."""

    id: str
    tokens: np.ndarray
    loss_mask: np.ndarray

    @functools.cached_property
    def learnt(self) -> np.ndarray:
        """Positions that predict a learnt token, int64, ascending."""
        return np.flatnonzero(self.loss_mask[1:])

    @property
    def first_prediction(self) -> int:
        """The first of them; only what stands before it may be shared with other examples."""
        return int(self.learnt[0])


def read_sequences(folder: Path) -> list[Sequence]:
    """Read sequences.safetensors (tokens, loss_mask, offsets) and sequences.json (ids).

    Raises:
        UserError: a file is missing or damaged, an example has nothing to learn, or its first token is to be learnt,
            which nothing predicts (named).
    """
    folder = Path(folder)
    try:
        ids = json.loads((folder / "sequences.json").read_text(encoding="utf-8"))["ids"]
        arrays = load_file(folder / "sequences.safetensors")
        tokens, mask, offsets = arrays["tokens"], arrays["loss_mask"].astype(bool), arrays["offsets"]
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"the sequences in {folder} cannot be read ({error}); build the dataset again") from None
    if not len(offsets) - 1 == len(ids) or not offsets[-1] == len(tokens) == len(mask):
        raise UserError(f"the sequences in {folder} do not fit together; build the dataset again")
    spans = [slice(int(a), int(b)) for a, b in itertools.pairwise(offsets)]
    found = [Sequence(name, tokens[span], mask[span]) for name, span in zip(ids, spans, strict=True)]
    if not found:
        raise UserError(f"the sequences in {folder} are none; build a dataset with examples")
    for sequence in found:
        if not sequence.learnt.size:
            raise UserError(f"example {sequence.id} has no token to learn; remove it from the dataset")
        if sequence.loss_mask[0]:
            raise UserError(f"example {sequence.id} is to learn its first token, which nothing predicts; unmask it")
    return found
