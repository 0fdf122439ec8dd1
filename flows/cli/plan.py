"""`jora plan`: compile a training step in a child process and print what it needs."""

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
    """Prints the job's log on stderr, without the line that it was started."""

    def info(self, msg: str, /, *args: object) -> None:
        pass

    def log(self, level: int, msg: str, /, *args: object) -> None:
        typer.echo(msg % args, err=True)


def plan(
    config: RunConfig, *, topology: str | None, device_memory: str | None, devices: str, longest: int, plot: Path | None
) -> None:
    """Print the memory plan for the settings' mesh and row length; with `device_memory`, the longest rows that fit.

    Raises:
        UserError: an option cannot be parsed, the model is unknown, the mesh does not divide it, or no row fits.
    """
    if plot is not None and device_memory is None:
        raise UserError("--plot shows the longest rows; give --device-memory as well, for example 24GB")
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
        raise UserError(f"--devices {text}: give comma-separated device counts, for example 1,2,4,8")
    return tuple(sorted({int(part) for part in counts}))


def footprint_lines(footprint: Footprint, chip: Chip | None = None) -> list[str]:
    """Lines of the table of one plan."""
    mesh = footprint.mesh
    parts = {
        "weights": footprint.weights,
        "adapter": footprint.adapter,
        "optimizer": footprint.optimizer,
        "gradient sums": footprint.sums,
        "rows": footprint.rows,
        "activations and temporaries": footprint.temporaries,
        "total": footprint.total,
    }
    if chip and chip.memory:
        parts["available to a program"] = chip.memory
    flops = f"FLOPs per token of a full row: {footprint.model_flops / 1e9:,.2f} G by the model's formula"
    if footprint.program_flops is not None:
        extra = footprint.program_flops / footprint.model_flops
        flops += f", {footprint.program_flops / 1e9:,.2f} G in the compiled program "
        flops += f"({extra:.2f} times: recomputed or masked)"
    compiler = f"the compiler of {chip.name}" if chip else "XLA's CPU backend"
    return [
        f"mesh data={mesh.data} fsdp={mesh.fsdp} tp={mesh.tp}; {footprint.rows_per_microbatch} row(s) of "
        f"{footprint.row_length:,} tokens a microbatch; temporaries as {compiler} assigns them",
        "",
        f"{'on each device':<28} {'MiB':>12}",
        *(f"{name:<28} {size / 2**20:>12,.1f}" for name, size in parts.items()),
        "",
        f"compiled in {footprint.compile_seconds:.1f} s",
        flops,
        f"FLOPs per trained token, in the head: {footprint.answer_flops / 1e9:,.2f} G",
    ]


def longest_lines(answers: Sequence[Longest]) -> list[str]:
    """Lines of the table of a search, one per device count."""
    head = ("devices", "mesh", "longest row", "weights", "temporaries", "total (MiB each)")
    lines = ["{:>7}  {:<14} {:>11}  {:>9} {:>11}  {}".format(*head)]
    for answer in answers:
        mesh = f"fsdp={answer.mesh.fsdp} tp={answer.mesh.tp}"
        if answer.footprint is None:
            needed = "more than the chip has" if answer.needed is None else f"{answer.needed / 2**20:,.0f} MiB"
            fit = f"none fits: the shortest needs {needed}"
        else:
            fitting = answer.footprint
            length = f"{'>=' if answer.capped else ''}{fitting.row_length:,}"
            sizes = (fitting.weights, fitting.temporaries, fitting.total)
            fit = "{:>11}  {:>9,.0f} {:>11,.0f}  {:,.0f}".format(length, *(size / 2**20 for size in sizes))
        lines.append(f"{answer.devices:>7}  {mesh:<14} {fit}")
    return lines
