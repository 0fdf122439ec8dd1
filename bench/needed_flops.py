"""What the arithmetic of rows needs, whatever program does it: products only, nothing that is computed again."""

import numpy as np

from jora_model.packing.tries import Rows
from jora_model.planning.flops import model_flops
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import LoraSettings


def needed_flops(config: ModelConfig, lora: LoraSettings, rows: Rows) -> dict[str, float]:
    """Operations for rows: "layers" without attention's over visible pairs, "all" with them."""
    # A plain row of S sees (S + 1) / 2 keys on average: of one half a key, and of one.
    half, one = (model_flops(config, lora, length) for length in (0, 1))
    pair = 2 * (one.per_token - half.per_token)
    layers = (one.per_token - pair) * rows.used + one.per_answer_token * float(rows.weights.sum())
    seen = rows.reach - np.arange(rows.reach.shape[1])
    return {"layers": layers, "all": layers + pair * float(seen[seen > 1].sum())}
