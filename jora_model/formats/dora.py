"""DoRA (arXiv 2402.09353) on the host: each row of `W + s B A` is scaled to a trained length m.

The length of a row comes from |W|^2, W A^T and A A^T; the sum is never formed. ops/dora.py does the same on devices.
"""

import numpy as np


def row_factors(weight: np.ndarray, a: np.ndarray, b: np.ndarray, scale: float, magnitude: np.ndarray) -> np.ndarray:
    """Return `m / |W + s B A|` for each row, float32 `[out]`; one where `magnitude` is NaN (no adapter there).

    Args:
        weight: W `[out, in]`.
        a, b: A `[R, in]`, B `[out, R]`.
        magnitude: m `[out]`.
    """
    wide = weight.astype(np.float32, copy=False)
    squares = np.einsum("oi,oi->o", wide, wide)
    squares += 2 * scale * np.einsum("or,or->o", b, wide @ a.T)
    squares += scale**2 * np.einsum("or,or->o", b, b @ (a @ a.T))
    factors: np.ndarray = magnitude / np.sqrt(np.maximum(squares, np.finfo(np.float32).tiny))
    return np.where(np.isnan(magnitude), np.float32(1), factors).astype(np.float32)
