"""PiSSA (arXiv 2404.02948) and OLoRA (arXiv 2406.01775): adapters that begin as a part of the base's weight.

They take `s B0 A0` out of the base's weight W before training, and the adapter's file does not hold it. As PEFT does
when it opens such an adapter, B0 and A0 are computed from W again. With `s [B, -B0] [A; A0]` the adapter is a plain one
of twice the rank on the unchanged W (PEFT's own conversion, `subtract_mutated_init`).
"""

import numpy as np

from jora_model.formats.peft_config import REPEATABLE


def first_factors(kind: str, weight: np.ndarray, rank: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return A0 `[R, in]` and B0 `[out, R]` of a weight `[out, in]` in float32.

    Only their product is determined: signs, and the order of equal singular values, are the library's choice.
    """
    assert kind in REPEATABLE, kind
    if kind == "olora":
        q, r = np.linalg.qr(weight.astype(np.float32))
        return r[:rank], q[:, :rank]
    u, values, v = np.linalg.svd(weight.astype(np.float32), full_matrices=False)
    root = np.sqrt(values[:rank] / np.float32(scale))
    return root[:, None] * v[:rank], u[:, :rank] * root
