"""The two folders of generation: prompts in, answers out; token arrays laid end to end, with ids beside them."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from user_error import UserError


def read_tokens(folder: Path, name: str) -> tuple[list[str], list[np.ndarray]]:
    """Read `{name}.safetensors` {tokens int32 [total], offsets int64 [N + 1]} and `{name}.json` {"ids"}.

    Returns:
        N ids and N int32 arrays.

    Raises:
        UserError: a file is missing or damaged, or ids and offsets do not fit one another.
    """
    tensors_path, ids_path = Path(folder) / f"{name}.safetensors", Path(folder) / f"{name}.json"
    try:
        arrays = load_file(tensors_path)
        ids = json.loads(ids_path.read_text(encoding="utf-8"))["ids"]
        tokens, offsets = arrays["tokens"], arrays["offsets"]
    except FileNotFoundError:
        raise UserError(f"{folder} must hold {tensors_path.name} and {ids_path.name}") from None
    except (SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise UserError(f"{tensors_path} or {ids_path.name} is damaged ({error}); write them again") from None
    if len(offsets) != len(ids) + 1 or (len(offsets) and offsets[-1] != len(tokens)):
        raise UserError(
            f"{tensors_path}: {len(offsets)} offsets do not fit {len(ids)} ids and {len(tokens)} tokens; "
            "write them again"
        )
    pieces = [tokens[a:b].astype(np.int32) for a, b in itertools.pairwise(offsets)]
    return ids, pieces


def read_grammars(path: Path, prompts: int) -> list[str | None]:
    """Read a file of grammars {"grammars": [...], "of": [place in grammars or null, for each prompt]}.

    Raises:
        UserError: it is missing or damaged, or of another number of prompts.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        found = [None if place is None else str(content["grammars"][place]) for place in content["of"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); write it again") from None
    if len(found) != prompts:
        raise UserError(f"{path}: {len(found)} grammars do not fit {prompts} prompts; write it again")
    return found


def write_tokens(
    folder: Path, name: str, ids: Sequence[str], pieces: Sequence[np.ndarray], **facts: Sequence[int | None]
) -> None:
    """The opposite of `read_tokens`; same content, same bytes.

    Args:
        facts: of each piece, to stand beside its id.
    """
    assert len(ids) == len(pieces)
    folder.mkdir(parents=True, exist_ok=True)
    offsets = np.cumsum([0, *(len(piece) for piece in pieces)], dtype=np.int64)
    tokens = np.concatenate([np.zeros(0, np.int32), *pieces]).astype(np.int32)
    save_file({"tokens": tokens, "offsets": offsets}, folder / f"{name}.safetensors")
    text = json.dumps({"ids": list(ids), **facts}, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
