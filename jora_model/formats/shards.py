"""Write a model's tensors as safetensors, one shard in memory at a time, with Hugging Face's index."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jora_model.spec.hf_files import WEIGHTS, WEIGHTS_INDEX


def write_shards(
    folder: Path, sizes: Mapping[str, int], tensor: Callable[[str], np.ndarray], max_shard_bytes: int
) -> list[str]:
    """Write `model.safetensors`, or `model-0000i-of-0000n.safetensors` and the index that maps names to them.

    Args:
        folder: an existing folder.
        sizes: tensor name -> bytes, in storage order.
        tensor: returns a tensor by name; called once per name, shard by shard.
        max_shard_bytes: size limit of a shard; only a single larger tensor may exceed it.

    Returns:
        Names of the weight files. The same tensors give the same bytes.
    """
    shards = _plan(sizes, max_shard_bytes)
    files = [
        WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        for number in range(1, len(shards) + 1)
    ]
    for file, names in zip(files, shards, strict=True):
        tensors = {name: np.ascontiguousarray(tensor(name)) for name in names}
        assert {name: array.nbytes for name, array in tensors.items()} == {name: sizes[name] for name in names}
        # transformers rejects a file without this entry; "pt" means row-major.
        save_file(tensors, folder / file, metadata={"format": "pt"})
        # safetensors makes files readable by the owner only; anyone who can read the folder should be able to.
        (folder / file).chmod(0o644)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(sizes.values())},
            "weight_map": {name: file for file, names in zip(files, shards, strict=True) for name in names},
        }
        (folder / WEIGHTS_INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return files


def _plan(sizes: Mapping[str, int], max_shard_bytes: int) -> list[list[str]]:
    """Fill shards in order, which keeps related tensors together."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards
