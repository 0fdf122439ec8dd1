"""Scaling of rotary frequencies."""

import numpy as np

from jora_model.spec.config import Llama3Rope


def llama3_frequencies(frequency: np.ndarray, rope: Llama3Rope) -> np.ndarray:
    """Return Llama 3's scaled inverse frequencies `[H/2]`, in the dtype of `frequency`.

    Source: transformers, modeling_rope_utils.py, `_compute_llama3_parameters`.
    """
    wavelength = 2 * np.pi / frequency
    low = rope.original_max_positions / rope.low_freq_factor
    high = rope.original_max_positions / rope.high_freq_factor
    smooth = (rope.original_max_positions / wavelength - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blended = (1 - smooth) * frequency / rope.factor + smooth * frequency
    scaled = np.where(wavelength > low, frequency / rope.factor, frequency)
    return np.where((wavelength <= low) & (wavelength >= high), blended, scaled).astype(frequency.dtype)
