"""Adapters that change what a model answers."""

from pathlib import Path

import numpy as np

from jora_model.formats.lora import fresh_adapter, write_adapter
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import LoraSettings


def nonzero_adapter(
    folder: Path, base: Path | ModelConfig, lora: LoraSettings, *, seed: int = 1, spread: float = 0.1
) -> Path:
    """Write an adapter of a base model with normal values of this spread in B, which is zero before training.

    Returns:
        `folder`.
    """
    random = np.random.default_rng(seed)
    fresh = fresh_adapter(base if isinstance(base, ModelConfig) else ModelConfig.read(base), lora, seed)
    factors = {name: (a, random.normal(0, spread, b.shape).astype(np.float32)) for name, (a, b) in fresh.items()}
    write_adapter(folder, factors, lora, "elsewhere")
    return folder
