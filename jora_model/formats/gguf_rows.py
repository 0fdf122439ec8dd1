"""How tensors are stored in GGUF files: the row order of queries and keys, and Gemma's norms.

llama.cpp rotates pairs of neighbouring rows in Llama and its kin, Hugging Face the two halves of a head; llama.cpp's
converter therefore interleaves the halves of each head, in weights and biases (conversion/llama.py,
LlamaModel.permute). Gemma's norms multiply by 1 + weight, and are stored with the one added (conversion/gemma.py).
"""

import numpy as np

from jora_model.formats.gguf_architectures import GGUF_ARCHITECTURES
from jora_model.spec.architecture import ARCHITECTURES
from jora_model.spec.config import ModelConfig


def to_gguf_rows(name: str, weight: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Return the tensor with Hugging Face name `name`, float32 `[rows, ..]`, as llama.cpp expects it."""
    heads = _heads(name, config)
    if heads is not None:
        return _swap_axes(weight, (heads, 2, -1, *weight.shape[1:]))
    return weight + np.float32(1) if _plus_one(name, config) else weight


def from_gguf_rows(name: str, weight: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Return the tensor with Hugging Face name `name`, float32 `[rows, ..]`, as Hugging Face stores it."""
    heads = _heads(name, config)
    if heads is not None:
        return _swap_axes(weight, (heads, -1, 2, *weight.shape[1:]))
    return weight - np.float32(1) if _plus_one(name, config) else weight


def _heads(name: str, config: ModelConfig) -> int | None:
    """Number of heads of a projection whose rows are interleaved; None for any other tensor."""
    if not GGUF_ARCHITECTURES[ARCHITECTURES[config.architecture].gguf].permuted:
        return None
    if ".q_proj." in name:
        return config.num_heads
    return config.num_kv_heads if ".k_proj." in name else None


def _plus_one(name: str, config: ModelConfig) -> bool:
    return config.norm_offset and name.endswith("norm.weight")


def _swap_axes(weight: np.ndarray, split: tuple[int, ...]) -> np.ndarray:
    return weight.reshape(split).swapaxes(1, 2).reshape(weight.shape)
