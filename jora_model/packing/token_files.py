"""Token arrays as files: laid end to end in safetensors, with their ids in JSON beside them."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from user_error import UserError


def read_arrays(
    folder: Path, name: str, fields: Sequence[str], remedy: str = "write them again"
) -> tuple[list[str], list[tuple[np.ndarray, ...]]]:
    """Read `{name}.safetensors` {offsets int64 [N + 1], and of each field an array [total]} and `{name}.json` {"ids"}.

    Args:
        remedy: what a person does about a damaged file.

    Returns:
        N ids, and N tuples of one array a field.

    Raises:
        UserError: a file is missing or damaged, or ids, offsets and arrays do not fit one another.
    """
    path = Path(folder) / f"{name}.safetensors"
    ids_path = path.with_suffix(".json")
    try:
        tensors = load_file(path)
        ids = list(json.loads(ids_path.read_text(encoding="utf-8"))["ids"])
        arrays, offsets = [tensors[field] for field in fields], tensors["offsets"]
    except FileNotFoundError:
        raise UserError(f"{folder} must hold {path.name} and {ids_path.name}; {remedy}") from None
    except (OSError, SafetensorError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path} or {ids_path.name} is damaged ({error}); {remedy}") from None
    totals = [len(array) for array in arrays]
    if len(offsets) != len(ids) + 1 or set(totals) != {int(offsets[-1])}:
        raise UserError(f"{path}: {len(offsets)} offsets do not fit {len(ids)} ids and {totals[0]} tokens; {remedy}")
    return ids, [tuple(array[a:b] for array in arrays) for a, b in itertools.pairwise(offsets.tolist())]
