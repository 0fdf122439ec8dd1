"""The command line `jora`. Heavy modules are imported in the commands, so that `jora --help` is fast."""

import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.answers import answers
from flows.cli.model_commands import models
from flows.cli.options import Config, DryRun, RunName, RunOptions, Sets, WorkDir, with_run_options
from flows.settings.sweep_values import SWEEPS
from flows.settings.used import GOALS, check_used
from user_error import UserError

if TYPE_CHECKING:
    from flows.settings.config import RunConfig

_INTERRUPTED = 130

app = typer.Typer(name="jora", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(models, name="models")
app.add_typer(answers)


@app.callback()
def everywhere(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of input errors; also allowed after the command.")
    ] = False,
) -> None:
    """Fine-tune a small language model on your documents, with retrieval (RAFT)."""


def _flow_command(name: str) -> Callable[..., None]:
    """A command that runs the pipeline up to its goal."""
    goal = GOALS[name]

    @with_run_options
    def command(
        options: RunOptions,
        strict: Annotated[
            bool, typer.Option("--strict", help="Fail on a document or a line of questions that cannot be read.")
        ] = False,
        profile: Annotated[
            bool, typer.Option("--profile", help="Trace three training updates with JAX's profiler.")
        ] = False,
        dry_run: DryRun = False,
    ) -> None:
        if profile and goal == "dataset":
            raise UserError("--profile traces training, and this command has none; give it to: jora train")
        before = ["training.profile=3"] if profile else []
        _go(
            options.load(name, before, ["documents.strict=true", "questions.strict=true"] if strict else []),
            goal,
            dry_run,
        )

    return command


def _go(settings: "RunConfig", goal: str, dry_run: bool) -> None:
    if dry_run:
        from flows.pipeline.dry_run import look

        look(settings, goal)
    else:
        from flows.cli.console import run_flow

        run_flow(settings, goal)


for _name, _help in (
    ("run", "Run the full pipeline (default: the sample corpus)."),
    ("build-dataset", "Build a RAFT dataset from documents and questions."),
    ("train", "Run the pipeline up to the trained adapter; cached stages are not built again."),
    ("evaluate", "Run the pipeline up to the evaluation ladder; cached stages are not built again."),
):
    app.command(_name, help=_help)(_flow_command(_name))


@app.command()
@with_run_options
def export(
    options: RunOptions,
    dry_run: DryRun = False,
    to: Annotated[
        Path | None, typer.Option("--to", help="New or empty folder, or an earlier export, which is replaced.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="With --to: latest, champion, or the name of a registered model.")
    ] = None,
    gguf: Annotated[
        str | None, typer.Option("--gguf", help="Also write GGUF for llama.cpp and Ollama: f16, bf16 or q8_0.")
    ] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Dtype of merged weights: bf16, f32 or base.")] = None,
    shard_size: Annotated[
        str | None, typer.Option("--shard-size", help="Maximum size of a weights file, e.g. 2GB.")
    ] = None,
) -> None:
    """Export the PEFT adapter, the merged model and, on request, GGUF.

    With --to, export an existing model; otherwise run the pipeline up to the export. What is written is read back and
    compared. Nothing is uploaded; to upload the folder use: hf upload
    """
    given = {"gguf": gguf, "dtype": dtype, "shard_size": shard_size}
    changes = [f"export.{name}={value}" for name, value in given.items() if value is not None]
    if to is None:
        if model is not None:
            raise UserError(f"--model {model}: say where to export it: --to DIR")
        _go(options.load("export", after=changes), GOALS["export"], dry_run)
        return
    of_a_run = (options.config, options.corpus, options.questions, options.base_model)
    if dry_run or any(option is not None for option in of_a_run):
        raise UserError("--to exports an existing model; of the other options only --model, --work-dir and --set apply")
    from flows.cli.console import run_export
    from flows.settings.export_settings import read_changes

    run_export(options.work_dir or ".jora", model or "latest", read_changes([*(options.sets or ()), *changes]), to)


@app.command()
def runs(
    work_dir: WorkDir = ".jora",
    last: Annotated[int, typer.Option("--last", min=1, help="Number of runs to list, the most recent.")] = 20,
) -> None:
    """List the runs of a work directory with state, duration and score."""
    from flows.cli.history import show_runs

    show_runs(work_dir, last)


@app.command()
def show(
    run: RunName = "latest",
    work_dir: WorkDir = ".jora",
) -> None:
    """Show one run: time and memory of each stage, settings, results, errors."""
    from flows.cli.history import show_run

    show_run(work_dir, run)


@app.command()
def report(
    run: RunName = "latest",
    work_dir: WorkDir = ".jora",
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the HTML report of a run again and print its path."""
    from flows.report import show_report

    show_report(work_dir, run, open_it)


@app.command()
def pin(
    run: RunName = "latest",
    work_dir: WorkDir = ".jora",
    undo: Annotated[bool, typer.Option("--undo", help="Unpin the run.")] = False,
) -> None:
    """Keep a run's results regardless of age: jora gc does not remove them."""
    from flows.cli.history import pin_run

    pin_run(work_dir, run, not undo)


@app.command()
def gc(
    work_dir: WorkDir = ".jora",
    days: Annotated[
        float,
        typer.Option("--days", min=0, help="Keep the results of runs of the last N days, and caches used in them."),
    ] = 30,
    max_cache: Annotated[
        str | None,
        typer.Option("--max-cache", help="Also remove the caches used longest ago until this size fits, e.g. 20GB."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are only listed.")] = False,
) -> None:
    """List artifacts that no recent run, pin or champion uses, and cached files, with their size."""
    from flows.cli.clean import clean

    clean(work_dir, days, delete, max_cache)


@app.command()
def inspect(
    work_dir: WorkDir = ".jora",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of examples, spread evenly over the split.")] = 3,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    id: Annotated[str | None, typer.Option("--id", help="Show only this example, or those of this question.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show tokens; those that are trained on in green.")] = False,
) -> None:
    """Show examples of the last dataset: context, oracle, quote and the tokens trained on."""
    from flows.cli.show_examples import show_examples

    show_examples(work_dir, split, n, id, tokens)


@app.command()
@with_run_options
def sweep(
    options: RunOptions,
    over: Annotated[str, typer.Argument(help="Setting to vary.", metavar="|".join(SWEEPS))],
    values: Annotated[
        str | None,
        typer.Option(
            "--values",
            help="Comma-separated values.",
            show_default="; ".join(f"{name} {sweep.default}" for name, sweep in SWEEPS.items()),
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also write the plot to this PNG file.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Measure quality against cost: one run for each value of a setting, then a table and a plot.

    Stages that the values share are built once, and cached values are not run again. latest/ does not change.
    """
    from flows.settings.sweep_values import check_plot, check_values, find_sweep, read_values

    chosen = read_values(over, find_sweep(over).default if values is None else values)
    settings = options.load("sweep")
    check_values(settings, over, chosen, options.sets or ())
    check_plot(plot)
    if dry_run:
        from flows.pipeline.dry_run import look_at_sweep

        look_at_sweep(settings, over, chosen)
    else:
        from flows.cli.console import run_sweep

        run_sweep(settings, over, chosen, plot)


@app.command()
def plan(
    model: Annotated[
        str | None,
        typer.Argument(help="llama-3.1-8b, qwen3-8b ..; a config.json or its folder; a .gguf file; or embedded."),
    ] = None,
    config: Config = None,
    sets: Sets = None,
    topology: Annotated[
        str | None,
        typer.Option("--topology", help="Compile for TPUs that are not attached, e.g. v5e:2x2."),
    ] = None,
    device_memory: Annotated[
        str | None, typer.Option("--device-memory", help="Find the longest row that fits in this memory, e.g. 24GB.")
    ] = None,
    devices: Annotated[str, typer.Option("--devices", help="With --device-memory: device counts to try.")] = "1,2,4,8",
    longest: Annotated[int, typer.Option("--longest", help="With --device-memory: longest row to try.")] = 32_768,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="With --device-memory: plot the result, as PNG."),
    ] = None,
) -> None:
    """Show memory per device, compile time and FLOPs of a training step, compiled without weights.

    Mesh, row length, rank and targets are settings: --set mesh.tp=2 --set training.row_length=512 --set lora.rank=16
    """
    from flows.cli.plan import plan as answer
    from flows.settings.config import load_config

    settings = load_config(config, {"base_model": model}, sets or ())
    check_used("plan", sets or ())
    answer(settings, topology=topology, device_memory=device_memory, devices=devices, longest=longest, plot=plot)


def main() -> None:
    """Entry point of `jora`."""
    guarded(lambda: app(prog_name="jora"))


def guarded(command: Callable[[], Any]) -> None:
    """Run a command: a UserError becomes one line and exit code 2; any other exception keeps its traceback.

    With --debug a UserError shows its traceback too. Ctrl-C gives exit code 130, SIGTERM 143.
    """
    # Taken out here: Typer would allow it only before the command.
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    # By default SIGTERM runs no cleanup, and the Prefect server that this process started would survive.
    previous = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        command()
    except UserError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as ended:  # Typer makes an exit of the interrupt
        if isinstance(ended, SystemExit) and ended.code != _INTERRUPTED:
            raise
        sys.stderr.write("\nstopped; the same command continues from the last checkpoint\n")
        sys.exit(_INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, previous)


if __name__ == "__main__":
    main()
