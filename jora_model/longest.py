"""The longest row that fits a device's memory, and the mesh that allows it, for a number of devices."""

import functools
import logging
from collections.abc import Callable

from jora_model.config import ModelConfig
from jora_model.footprint import measure
from jora_model.job import TrainSettings
from jora_model.plan_job import Footprint, Longest
from jora_model.settings import LoraSettings, MeshSettings
from jora_model.sharding import check_divisible

log = logging.getLogger(__name__)

#: Rows are multiples of this: attention works in blocks of it.
STEP = 128
#: Two short rows from which the need of longer ones is extrapolated.
PROBES = (4 * STEP, 8 * STEP)


def meshes(config: ModelConfig, devices: int) -> list[MeshSettings]:
    """Meshes of so many devices that divide the model. `data` copies the model and saves no memory: it stays 1."""
    found = []
    for tp in (n for n in range(1, devices + 1) if devices % n == 0):
        mesh = MeshSettings(fsdp=devices // tp, tp=tp)
        try:
            check_divisible(config, mesh)
        except ValueError:
            continue
        found.append(mesh)
    return found


def longest_row(
    config: ModelConfig, lora: LoraSettings, training: TrainSettings, devices: int, memory: int, limit: int
) -> Longest:
    """Search the mesh and the longest row (a multiple of 128, at most `limit`) that fit `memory` bytes a device.

    Memory grows evenly with the row, so two short rows of each mesh say which one goes furthest; on that one the
    longest row is found by bisection, every step of it compiled.

    Raises:
        ValueError: no mesh of so many devices divides the model.
    """
    candidates = meshes(config, devices)
    if not candidates:
        raise ValueError(f"no mesh of {devices} devices divides the model; choose another number of devices")

    @functools.cache
    def need(mesh: MeshSettings, row_length: int) -> Footprint:
        # Every device of `fsdp` needs a row of its own.
        changes = {"row_length": row_length, "rows_per_microbatch": mesh.fsdp}
        found = measure(config, lora, mesh, training.model_copy(update=changes))
        log.info(
            "fsdp=%d tp=%d, %6d tokens: %6.2f GB (%.0f s)",
            mesh.fsdp,
            mesh.tp,
            row_length,
            found.total / 1e9,
            found.compile_seconds,
        )
        return found

    def reach(mesh: MeshSettings) -> float:
        """Tokens that would just fit, by the line through the probes."""
        a, b = (need(mesh, length).total for length in PROBES)
        return PROBES[0] + (memory - a) / max(b - a, 1) * (PROBES[1] - PROBES[0])

    best = max(candidates, key=reach)
    found = bisect(lambda length: need(best, length).total <= memory, round(reach(best)), limit)
    return Longest(
        devices=devices,
        mesh=best,
        footprint=need(best, found) if found else None,
        shortest=need(best, STEP).total,
        capped=found > limit - STEP,
    )


def bisect(fits: Callable[[int], bool], guess: int, limit: int) -> int:
    """The largest multiple of STEP up to `limit` that fits (0 for none), given that all smaller ones do too.

    A good guess is tried first and hedged by a step to either side that doubles, so that it saves most of the way.
    """
    low, high = 0, limit // STEP + 1  # low fits (or is nothing), high does not (or is out of bounds)
    at, stride = min(max(guess // STEP, 1), high - 1), 1
    while high - low > 1:
        if fits(at * STEP):
            low, at = at, at + stride
        else:
            high, at = at, at - stride
        stride *= 2
        if not low < at < high:
            at = (low + high) // 2
    return low * STEP
