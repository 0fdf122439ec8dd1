"""Plan a training step without weights: `python -m jora_model.planning.plan JOB.json`.

A process of its own, since the number of virtual devices is fixed when JAX starts. XLA's CPU backend compiles for them:
weights, adapter, optimizer and sums are the same on every platform, temporaries are this backend's. With a topology,
the chip's own compiler compiles.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import jax

from jora_model.formats.named_config import config_of
from jora_model.planning.footprint import measure
from jora_model.planning.longest import longest_row
from jora_model.planning.plan_job import Chip, PlanAnswer, PlanJob
from jora_model.planning.topology import chip_memory, find_topology
from jora_model.runtime.process import run_job_file, set_up_log
from jora_model.runtime.sharding import check_divisible, check_rows, replicated_note
from jora_model.spec.job import read_job
from user_error import UserError


def use_virtual_devices(count: int) -> None:
    """Split the CPU into this many devices; raises RuntimeError if JAX is initialized."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)


def plan(job: PlanJob) -> PlanAnswer:
    """The footprint of a mesh, or the longest rows for numbers of devices.

    Raises:
        UserError: an unknown model, a mesh that does not divide it, or no row fits on any number of devices.
    """
    config = config_of(job.model)
    if job.device_memory is None:
        check_divisible(config, job.mesh)
        check_rows(job.training.rows_per_microbatch, job.mesh)
        chips = _devices(job, job.mesh.devices)
        note = replicated_note(config, job.mesh.tp)
        footprint = measure(config, job.lora, job.mesh, job.training, chips)
        return PlanAnswer(footprint=footprint, chip=_chip(chips), notes=(note,) if note else ())
    chips = _devices(job, max(job.devices))
    chip = _chip(chips)
    if chip and chip.memory and job.device_memory > chip.memory:
        raise UserError(
            f"--device-memory of {job.device_memory / 2**30:.2f} GiB: a {chip.name} has {chip.memory / 2**30:.2f} GiB"
        )
    answers = tuple(
        longest_row(config, job.lora, job.training, devices, job.device_memory, job.longest, chips)
        for devices in job.devices
    )
    if not any(answer.footprint for answer in answers):
        least = min(answers, key=lambda answer: math.inf if answer.needed is None else answer.needed)
        needed = "more than the chip has" if least.needed is None else f"{least.needed / 1e9:.2f} GB each"
        raise UserError(
            f"no row fits: on {least.devices} device{'s' * (least.devices > 1)} the shortest needs {needed} and there "
            f"are {job.device_memory / 1e9:.2f}; use more devices (--devices) or a smaller model"
        )
    notes = [replicated_note(config, answer.mesh.tp) for answer in answers]
    if any(answer.footprint and answer.footprint.row_length > config.max_positions for answer in answers):
        notes.append(f"the model has {config.max_positions:,} positions: a longer row holds several examples")
    return PlanAnswer(longest=answers, chip=chip, notes=tuple(filter(None, notes)))


def _devices(job: PlanJob, count: int) -> Sequence[jax.Device]:
    """The topology's devices, at least `count`; without a topology none, and JAX has `count` virtual ones."""
    use_virtual_devices(1 if job.topology else count)
    if job.topology is None:
        return ()
    chips = find_topology(job.topology)
    if count > len(chips):
        what = "the mesh needs" if job.device_memory is None else "--devices asks for"
        raise UserError(f"--topology {job.topology} has {len(chips)} devices and {what} {count}; change one of them")
    return chips


def _chip(chips: Sequence[jax.Device]) -> Chip | None:
    return Chip(name=chips[0].device_kind, memory=chip_memory(chips[0])) if chips else None


def _run(path: Path) -> None:
    job = read_job(path, PlanJob)
    answer = plan(job)
    Path(job.output).write_text(answer.model_dump_json(indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    set_up_log("jora_model")
    run_job_file(_run)
