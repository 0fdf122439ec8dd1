"""The longest row that fits a device's memory, and the mesh that allows it, for a number of devices."""

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

#: Rows are multiples of this: others get smaller blocks of attention and other temporaries, so that a longer row may
#: need less.
STEP = LARGE
#: Two short rows from which the need of longer ones is extrapolated.
PROBES = (2 * STEP, 4 * STEP)


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
    config: ModelConfig,
    lora: LoraSettings,
    training: TrainSettings,
    devices: int,
    memory: int,
    limit: int,
    chips: Sequence[jax.Device] = (),
) -> Longest:
    """Search the mesh and the longest row (a multiple of 256, at most `limit`) that fit `memory` bytes a device.

    Two short rows of each mesh say which one goes furthest; on that one the longest row is searched, and each row that
    is looked at is compiled.

    Args:
        chips: see `measure`; what their compiler refuses does not fit.

    Raises:
        UserError: no mesh of so many devices divides the model.
    """
    candidates = meshes(config, devices)
    if not candidates:
        raise UserError(f"no mesh of {devices} devices divides the model; choose another number of devices")

    @functools.cache
    def need(mesh: MeshSettings, row_length: int) -> Footprint | None:
        # Every device of `fsdp` needs a row of its own.
        changes = {"row_length": row_length, "rows_per_microbatch": mesh.fsdp}
        try:
            found = measure(config, lora, mesh, training.model_copy(update=changes), chips)
        except OutOfMemoryError:
            log.info("fsdp=%d tp=%d, %6d tokens: more than the chip has", mesh.fsdp, mesh.tp, row_length)
            return None
        log.info(
            "fsdp=%d tp=%d, %6d tokens: %6.2f GB (%.0f s)",
            mesh.fsdp,
            mesh.tp,
            row_length,
            found.total / 1e9,
            found.compile_seconds,
        )
        return found

    def size(mesh: MeshSettings, row_length: int) -> float:
        found = need(mesh, row_length)
        return found.total if found else math.inf

    def reach(mesh: MeshSettings) -> float:
        """Tokens that would just fit, by the line through the probes."""
        a, b = (size(mesh, length) for length in PROBES)
        if math.isinf(b):
            return PROBES[0] if a <= memory else 0
        return PROBES[0] + (memory - a) / max(b - a, 1) * (PROBES[1] - PROBES[0])

    best = max(candidates, key=reach)
    known = {length: size(best, length) for length in PROBES}
    found = largest_fit(lambda length: size(best, length), known, memory, limit)
    shown = need(best, found or STEP)
    return Longest(
        devices=devices,
        mesh=best,
        footprint=shown if found else None,
        needed=shown.total if shown else None,
        capped=found > limit - STEP,
    )


def largest_fit(size: Callable[[int], float], known: Mapping[int, float], memory: int, limit: int) -> int:
    """The largest multiple of STEP up to `limit` whose size fits, 0 for none, where longer is larger.

    Each size costs a compilation, of which long rows take longest. So the line through the two nearest known sizes is
    followed, upwards at most to four times what fits; every other turn halves, so that a bent line costs little.

    Args:
        known: sizes of two lengths or more; infinite where a compiler only refuses.
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
    """Two known lengths on both sides of the edge, or the two nearest to it."""
    if low in sizes and high in sizes:
        return low, high
    lengths = sorted(sizes)
    return (lengths[-2], lengths[-1]) if low in sizes else (lengths[0], lengths[1])
