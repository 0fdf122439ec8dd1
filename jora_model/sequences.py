"""The seam with the data: sequences of tokens with a mask of what is learnt, as files."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file


@dataclass(frozen=True)
class Sequence:
    """One example: tokens int32 [T]; loss_mask bool [T], True where the token is learnt."""

    id: str
    tokens: np.ndarray
    loss_mask: np.ndarray

    @property
    def first_prediction(self) -> int:
        """The first position that predicts a learnt token."""
        learnt = np.flatnonzero(self.loss_mask[1:])
        return int(learnt[0])


def read_sequences(folder: Path) -> list[Sequence]:
    """Read sequences.safetensors (tokens, loss_mask, offsets) and sequences.json (ids).

    Raises:
        ValueError: a file is missing or damaged, or an example has nothing to learn (named).
    """
    folder = Path(folder)
    try:
        ids = json.loads((folder / "sequences.json").read_text(encoding="utf-8"))["ids"]
        arrays = load_file(folder / "sequences.safetensors")
        tokens, mask, offsets = arrays["tokens"], arrays["loss_mask"].astype(bool), arrays["offsets"]
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"the sequences in {folder} cannot be read ({error}); build the dataset again") from None
    spans = [slice(int(a), int(b)) for a, b in itertools.pairwise(offsets)]
    found = [Sequence(name, tokens[span], mask[span]) for name, span in zip(ids, spans, strict=True)]
    if not found:
        raise ValueError(f"the sequences in {folder} are none; build a dataset with examples")
    for sequence in found:
        if not sequence.loss_mask[1:].any():
            raise ValueError(f"example {sequence.id} has no token to learn; remove it from the dataset")
    return found
