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
        sizes: bytes of every tensor, in the order in which they are to be stored.
        tensor: gives the tensor of a name; called once for each name, shard after shard.
        max_shard_bytes: no shard is larger, except one that holds a single larger tensor.

    Returns:
        The names of the files that hold tensors. Same tensors, same bytes.
    """
    shards = _plan(sizes, max_shard_bytes)
    files = [
        WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        for number in range(1, len(shards) + 1)
    ]
    for file, names in zip(files, shards, strict=True):
        tensors = {name: np.ascontiguousarray(tensor(name)) for name in names}
        assert {name: array.nbytes for name, array in tensors.items()} == {name: sizes[name] for name in names}
        # transformers refuses a file whose metadata does not say who wrote it; "pt" is its word for row-major.
        save_file(tensors, folder / file, metadata={"format": "pt"})
        # safetensors lets the owner alone read it; whoever may read the folder is meant to.
        (folder / file).chmod(0o644)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(sizes.values())},
            "weight_map": {name: file for file, names in zip(files, shards, strict=True) for name in names},
        }
        (folder / WEIGHTS_INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return files


def _plan(sizes: Mapping[str, int], max_shard_bytes: int) -> list[list[str]]:
    """Fill shards in order, so that names that belong together stay together."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards
