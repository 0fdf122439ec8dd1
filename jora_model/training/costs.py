"""Costs of an adapter, from the files of its training: trainable weights, bytes, seconds of a step."""

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from jora_model.formats.lora import read_adapter_settings


@dataclass(frozen=True, slots=True)
class AdapterCosts:
    """The costs of one adapter.

    Attributes:
        parameters: number of trainable weights.
        bytes: size of adapter_model.safetensors.
        scale: the factor on B(A(x)).
        updates: number of updates.
        step_seconds: median of the updates' seconds without the first, which is mostly compilation; None for a single
            update.
    """

    parameters: int
    bytes: int
    scale: float
    updates: int
    step_seconds: float | None


def adapter_costs(folder: Path) -> AdapterCosts:
    """The costs of the adapter in a folder that training wrote."""
    weights = folder / "adapter_model.safetensors"
    # Reads the header only.
    with safe_open(weights, "numpy") as file:
        parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines[1:]]
    return AdapterCosts(
        parameters=parameters,
        bytes=weights.stat().st_size,
        scale=read_adapter_settings(folder).scale,
        updates=len(lines),
        step_seconds=statistics.median(seconds) if seconds else None,
    )
