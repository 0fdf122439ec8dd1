"""Plan a training step in a process of its own, and show what it needs as tables."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer
from pydantic import ValidationError

from flows.settings.checks import describe
from flows.settings.config import RunConfig, one_line
from jora_model.formats.named_config import config_of
from jora_model.planning.longest_plot import draw_longest
from jora_model.planning.plan_job import Chip, Footprint, Longest, PlanAnswer, PlanJob
from jora_model.spec.settings import parse_size
from tasks.engine.jobs import run_job
from user_error import UserError


class _Terminal:
    """What the job tells, on stderr; that it was started is of no interest."""

    def info(self, msg: str, /, *args: object) -> None:
        pass

    def log(self, level: int, msg: str, /, *args: object) -> None:
        typer.echo(msg % args, err=True)


def plan(
    config: RunConfig, *, topology: str | None, device_memory: str | None, devices: str, longest: int, plot: Path | None
) -> None:
    """Print the plan for the settings' mesh and row length; with `device_memory`, the longest rows.

    Raises:
        UserError: an option that cannot be read, an unknown model, a mesh that does not divide it, no row that fits.
    """
    if plot is not None and device_memory is None:
        raise UserError("--plot draws the longest rows; give --device-memory as well, such as 24GB")
    facts = config_of(config.base_model)
    with tempfile.TemporaryDirectory() as folder:
        try:
            job = PlanJob(
                model=config.base_model,
                output=str(Path(folder) / "answer.json"),
                lora=config.lora,
                mesh=config.mesh,
                training=config.training,
                device_memory=None if device_memory is None else _parse_memory(device_memory),
                topology=topology,
                devices=_parse_devices(devices),
                longest=longest,
            )
        except ValidationError as error:
            raise UserError(one_line(error)) from None
        job_file = Path(folder) / "job.json"
        job_file.write_text(job.model_dump_json(), encoding="utf-8")
        run_job("jora_model.planning.plan", job_file, log=_Terminal())
        answer = PlanAnswer.model_validate_json(Path(job.output).read_bytes())
    if answer.footprint:
        lines = [describe(config, facts), *footprint_lines(answer.footprint, answer.chip)]
    else:
        lines = longest_lines(answer.longest)
    typer.echo("\n".join([*lines, *answer.notes]))
    if plot is not None:
        draw_longest(answer.longest, f"{config.base_model}, {device_memory} a device, rank {config.lora.rank}", plot)
        typer.echo(f"plot: {plot}")


def _parse_memory(text: str) -> int:
    try:
        return parse_size(text)
    except UserError as error:
        raise UserError(f"--device-memory {text}: {error}") from None


def _parse_devices(text: str) -> tuple[int, ...]:
    counts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in counts):
        raise UserError(f"--devices {text}: write numbers of devices with commas between them, such as 1,2,4,8")
    return tuple(sorted({int(part) for part in counts}))


def footprint_lines(found: Footprint, chip: Chip | None = None) -> list[str]:
    """The table of one plan."""
    mesh = found.mesh
    parts = {
        "weights": found.weights,
        "adapter": found.adapter,
        "optimizer": found.optimizer,
        "gradient sums": found.sums,
        "rows": found.rows,
        "activations and temporaries": found.temporaries,
        "total": found.total,
    }
    if chip and chip.memory:
        parts["a program may use"] = chip.memory
    flops = f"FLOPs per token of a full row: {found.model_flops / 1e9:,.2f} G by the model"
    if found.program_flops is not None:
        extra = found.program_flops / found.model_flops
        flops += f", {found.program_flops / 1e9:,.2f} G in the compiled program "
        flops += f"({extra:.2f} times: computed again, or masked)"
    compiler = f"the compiler of {chip.name}" if chip else "XLA's CPU backend"
    return [
        f"mesh data={mesh.data} fsdp={mesh.fsdp} tp={mesh.tp}; {found.rows_per_microbatch} row(s) of "
        f"{found.row_length:,} tokens a microbatch; temporaries as {compiler} assigns them",
        "",
        f"{'on each device':<28} {'MiB':>12}",
        *(f"{name:<28} {size / 2**20:>12,.1f}" for name, size in parts.items()),
        "",
        f"compiled in {found.compile_seconds:.1f} s",
        flops,
        f"FLOPs per learnt token, in the head: {found.answer_flops / 1e9:,.2f} G",
    ]


def longest_lines(answers: Sequence[Longest]) -> list[str]:
    """The table of a search: a line for each number of devices."""
    head = ("devices", "mesh", "longest row", "weights", "temporaries", "total (MiB each)")
    lines = ["{:>7}  {:<14} {:>11}  {:>9} {:>11}  {}".format(*head)]
    for answer in answers:
        mesh = f"fsdp={answer.mesh.fsdp} tp={answer.mesh.tp}"
        if answer.footprint is None:
            needed = "more than the chip has" if answer.needed is None else f"{answer.needed / 2**20:,.0f} MiB"
            fit = f"none fits: the shortest needs {needed}"
        else:
            found = answer.footprint
            length = f"{'>=' if answer.capped else ''}{found.row_length:,}"
            sizes = (found.weights, found.temporaries, found.total)
            fit = "{:>11}  {:>9,.0f} {:>11,.0f}  {:,.0f}".format(length, *(size / 2**20 for size in sizes))
        lines.append(f"{answer.devices:>7}  {mesh:<14} {fit}")
    return lines
