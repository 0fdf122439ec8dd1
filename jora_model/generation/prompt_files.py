"""Files of generation: prompts, their grammars, and answers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jora_model.packing.token_files import read_arrays
from user_error import UserError


def read_tokens(folder: Path, name: str) -> tuple[list[str], list[np.ndarray]]:
    """Read `{name}.safetensors` {tokens int32 [total], offsets int64 [N + 1]} and `{name}.json` {"ids"}.

    Returns:
        N ids and N int32 arrays.

    Raises:
        UserError: a file is missing or damaged, or ids and offsets do not fit one another.
    """
    ids, arrays = read_arrays(folder, name, ("tokens",))
    return ids, [tokens.astype(np.int32) for (tokens,) in arrays]


def read_grammars(path: Path, prompts: int) -> list[str | None]:
    """Read a file of grammars {"grammars": [...], "of": [index into grammars or null, per prompt]}.

    Raises:
        UserError: it is missing or damaged, or for another number of prompts.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        grammars = [None if index is None else str(content["grammars"][index]) for index in content["of"]]
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); write it again") from None
    if len(grammars) != prompts:
        raise UserError(f"{path}: {len(grammars)} grammars do not fit {prompts} prompts; write it again")
    return grammars


def write_tokens(
    folder: Path, name: str, ids: Sequence[str], pieces: Sequence[np.ndarray], **facts: Sequence[int | None]
) -> None:
    """Write what `read_tokens` reads; same content, same bytes.

    Args:
        facts: further values of each piece, written to the JSON file beside the ids.
    """
    assert len(ids) == len(pieces)
    folder.mkdir(parents=True, exist_ok=True)
    offsets = np.cumsum([0, *(len(piece) for piece in pieces)], dtype=np.int64)
    tokens = np.concatenate([np.zeros(0, np.int32), *pieces]).astype(np.int32)
    save_file({"tokens": tokens, "offsets": offsets}, folder / f"{name}.safetensors")
    text = json.dumps({"ids": list(ids), **facts}, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
