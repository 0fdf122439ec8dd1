"""FLOPs of the matrix products that rows need, without recomputation."""

import numpy as np

from jora_model.packing.tries import Rows
from jora_model.planning.flops import model_flops
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import LoraSettings


def needed_flops(config: ModelConfig, lora: LoraSettings, rows: Rows) -> dict[str, float]:
    """Return FLOPs: "layers" excludes attention over visible pairs, "all" includes it."""
    # A causal row of length S sees (S + 1) / 2 keys on average: half a key at length 0, one at length 1.
    half, one = (model_flops(config, lora, length) for length in (0, 1))
    pair = 2 * (one.per_token - half.per_token)
    layers = (one.per_token - pair) * rows.used + one.per_answer_token * float(rows.weights.sum())
    seen = rows.reach - np.arange(rows.reach.shape[1])
    return {"layers": layers, "all": layers + pair * float(seen[seen > 1].sum())}
