"""The longest row that fits a device's memory, and its mesh, for a number of devices."""

import functools
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence

import jax

from jora_model.packing.tiles import LARGE
from jora_model.planning.footprint import OutOfMemoryError, measure
from jora_model.planning.plan_job import Footprint, Longest
from jora_model.runtime.sharding import check_divisible
from jora_model.spec.config import ModelConfig
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings
from user_error import UserError

log = logging.getLogger(__name__)

#: Rows are multiples of this: others have smaller attention blocks and other temporaries, so that a longer row may need
#: less memory.
STEP = LARGE
#: Two short rows, from which the memory of longer ones is extrapolated.
PROBES = (2 * STEP, 4 * STEP)


def meshes(config: ModelConfig, devices: int) -> list[MeshSettings]:
    """Meshes of this many devices that divide the model; `data` is 1, since copies of the model save no memory."""
    allowed = []
    for tp in (n for n in range(1, devices + 1) if devices % n == 0):
        mesh = MeshSettings(fsdp=devices // tp, tp=tp)
        try:
            check_divisible(config, mesh)
        except UserError:
            continue
        allowed.append(mesh)
    return allowed


def longest_row(
    config: ModelConfig,
    lora: LoraSettings,
    training: TrainSettings,
    devices: int,
    memory: int,
    limit: int,
    chips: Sequence[jax.Device] = (),
) -> Longest:
    """Search the mesh and the longest row (a multiple of 256, at most `limit`) that fit `memory` bytes a device.

    Two short rows of each mesh predict which one allows the longest row; only that mesh is searched. Each row that is
    tried is compiled.

    Args:
        chips: see `measure`; a step that their compiler refuses does not fit.

    Raises:
        UserError: no mesh of this many devices divides the model.
    """
    candidates = meshes(config, devices)
    if not candidates:
        raise UserError(f"no mesh of {devices} devices divides the model; choose another number of devices")

    @functools.cache
    def need(mesh: MeshSettings, row_length: int) -> Footprint | None:
        # Each device of `fsdp` needs a row of its own.
        changes = {"row_length": row_length, "rows_per_microbatch": mesh.fsdp}
        try:
            footprint = measure(config, lora, mesh, training.model_copy(update=changes), chips)
        except OutOfMemoryError:
            log.info("fsdp=%d tp=%d, %6d tokens: does not fit the chip", mesh.fsdp, mesh.tp, row_length)
            return None
        log.info(
            "fsdp=%d tp=%d, %6d tokens: %6.2f GB (%.0f s)",
            mesh.fsdp,
            mesh.tp,
            row_length,
            footprint.total / 1e9,
            footprint.compile_seconds,
        )
        return footprint

    def size(mesh: MeshSettings, row_length: int) -> float:
        footprint = need(mesh, row_length)
        return footprint.total if footprint else math.inf

    def predicted(mesh: MeshSettings) -> float:
        """Tokens that would just fit, by the line through the probes."""
        a, b = (size(mesh, length) for length in PROBES)
        if math.isinf(b):
            return PROBES[0] if a <= memory else 0
        return PROBES[0] + (memory - a) / max(b - a, 1) * (PROBES[1] - PROBES[0])

    best = max(candidates, key=predicted)
    known = {length: size(best, length) for length in PROBES}
    length = largest_fit(lambda length: size(best, length), known, memory, limit)
    shown = need(best, length or STEP)
    return Longest(
        devices=devices,
        mesh=best,
        footprint=shown if length else None,
        needed=shown.total if shown else None,
        capped=length > limit - STEP,
    )


def largest_fit(size: Callable[[int], float], known: Mapping[int, float], memory: int, limit: int) -> int:
    """The largest multiple of STEP up to `limit` whose size fits, 0 for none; sizes must increase with the length.

    Each size costs a compilation, which takes longer for long rows. So the search interpolates between the two nearest
    known sizes, and extrapolates to at most four times the longest row that fits; every second step bisects, so that a
    curve costs little more than a line.

    Args:
        known: sizes of two lengths or more; infinite if a compiler only refuses.
    """
    sizes = dict(known)
    end = limit // STEP * STEP + STEP  # out of bounds, as if it did not fit
    for turn in itertools.count():
        low = max((length for length in sizes if sizes[length] <= memory), default=0)
        high = min((length for length in sizes if sizes[length] > memory), default=end)
        if min(high, end) - low <= STEP:
            return min(low, end - STEP)
        if high < end and turn % 2:
            at = (low + high) // 2
        else:
            below, above = _nearest(sizes, low, high)
            slope = (sizes[above] - sizes[below]) / (above - below)
            at = round(below + (memory - sizes[below]) / slope) if slope > 0 else high
        at = min(max(at // STEP * STEP, low + STEP), min(high, end) - STEP)
        if high == end and low:
            at = min(at, 4 * low)
        sizes[at] = size(at)
    raise AssertionError


def _nearest(sizes: Mapping[int, float], low: int, high: int) -> tuple[int, int]:
    """Two known lengths on both sides of the limit, or the two nearest to it."""
    if low in sizes and high in sizes:
        return low, high
    lengths = sorted(sizes)
    return (lengths[-2], lengths[-1]) if low in sizes else (lengths[0], lengths[1])
