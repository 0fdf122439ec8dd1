"""The command line `jora`. Heavy modules are imported in the commands, so that `jora --help` answers at once."""

import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.answers import answers
from flows.settings.sweep_values import SWEEPS
from user_error import UserError

app = typer.Typer(
    name="jora",
    help="Retrieval augmented fine-tuning: documents in, a better small language model out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

models = typer.Typer(help="Registered models: list, compare, choose the champion.", add_completion=False)
app.add_typer(models, name="models")
app.add_typer(answers)  # its commands stand beside those below

Config = Annotated[Path | None, typer.Option("--config", help="YAML file with settings; options here win.")]
Corpus = Annotated[str | None, typer.Option("--corpus", help="Folder of documents, or a file, data set or SQuAD file.")]
Questions = Annotated[str | None, typer.Option("--questions", help="Questions: .jsonl, Alpaca .json or SQuAD .json.")]
BaseModel = Annotated[
    str | None, typer.Option("--base-model", help="Hugging Face id, folder, .gguf file, or embedded (SmolLM2-135M).")
]
WorkDir = Annotated[str | None, typer.Option("--work-dir", help="Where results and the cache live [.jora].")]
ModelsDir = Annotated[str | None, typer.Option("--work-dir", help="The work directory of finished runs [.jora].")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting, as group.key=value: --set training.epochs=2")
]
Profile = Annotated[bool, typer.Option("--profile", help="Trace three updates of training with JAX's profiler.")]
Strict = Annotated[bool, typer.Option("--strict", help="A document that cannot be read is an error.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would run, and stop.")]


def _flow_command(goal: str) -> Callable[..., None]:
    """A command that runs the pipeline as far as a goal; all of them take the same options."""

    def command(
        config: Config = None,
        corpus: Corpus = None,
        questions: Questions = None,
        base_model: BaseModel = None,
        work_dir: WorkDir = None,
        sets: Sets = None,
        strict: Strict = False,
        profile: Profile = False,
        dry_run: DryRun = False,
    ) -> None:
        from flows.settings.config import load_config

        if profile:
            if goal == "dataset":
                raise UserError("--profile traces training, and this command has none; give it to: jora train")
            sets = ["training.profile=3", *(sets or ())]
        if strict:
            sets = [*(sets or ()), "documents.strict=true"]
        options = {"corpus": corpus, "questions": questions, "base_model": base_model, "work_dir": work_dir}
        settings = load_config(config, options, sets or ())
        if dry_run:
            from flows.pipeline.dry_run import look

            look(settings, goal)
        else:
            from flows.cli.console import run_flow

            run_flow(settings, goal)

    return command


for _name, _goal, _help in (
    ("run", "everything", "The whole way, by default on the sample corpus: dataset, training, evaluation, export."),
    ("build-dataset", "dataset", "Documents and questions to a RAFT dataset."),
    ("train", "adapter", "As far as the trained adapter; what is there already is not built again."),
    ("evaluate", "evaluation", "As far as the evaluation ladder."),
):
    app.command(_name, help=_help)(_flow_command(_goal))


@app.command()
def export(
    config: Config = None,
    corpus: Corpus = None,
    questions: Questions = None,
    base_model: BaseModel = None,
    work_dir: WorkDir = None,
    sets: Sets = None,
    dry_run: DryRun = False,
    to: Annotated[
        Path | None, typer.Option("--to", help="A new or empty folder, or an earlier export, which is replaced.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="With --to: champion, latest, or the name of a registered model.")
    ] = None,
    gguf: Annotated[str | None, typer.Option("--gguf", help="Also for llama.cpp and Ollama: f16, bf16, q8_0.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Of the merged weights: bf16, f32, base.")] = None,
    shard_size: Annotated[str | None, typer.Option("--shard-size", help="Such as 2GB: of a weights file.")] = None,
) -> None:
    """PEFT adapter, merged model and GGUF. With --to, of a model that is there already; else a run as far as that.

    Nothing is sent to a hub: hf upload does that with the folder. What was written is read back and compared.
    """
    given = {"gguf": gguf, "dtype": dtype, "shard_size": shard_size}
    chosen = [f"export.{name}={value}" for name, value in given.items() if value is not None]
    sets = [*(sets or ()), *chosen]
    if to is None:
        if model is not None:
            raise UserError(f"--model {model}: say where to export it: --to DIR")
        _flow_command("export")(config, corpus, questions, base_model, work_dir, sets, dry_run=dry_run)
        return
    if dry_run or any(option is not None for option in (config, corpus, questions, base_model)):
        raise UserError(
            "--to exports a model that is there already; give it --model, --work-dir and settings of export"
        )
    from flows.cli.console import run_export
    from flows.settings.export_settings import read_changes

    run_export(work_dir or ".jora", model or "latest", read_changes(sets), to)


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context, work_dir: ModelsDir = None) -> None:
    """The models that runs have exported, with their scores, and which of them is the champion."""
    context.obj = work_dir or ".jora"  # also of the commands below, which may name their own
    if context.invoked_subcommand is None:
        from flows.cli.model_tables import list_models as show

        show(context.obj)


@models.command("compare")
def compare_models(
    context: typer.Context,
    new: Annotated[str, typer.Argument(help="A model's name, its beginning, or champion.")],
    standing: Annotated[str, typer.Argument(help="The one that it is compared with.")] = "champion",
    work_dir: ModelsDir = None,
) -> None:
    """How two models did on the questions that both have answered."""
    from flows.cli.model_tables import compare_models as show

    show(work_dir or context.obj, new, standing)


@models.command("promote")
def promote_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model's name or its beginning.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the history.")] = "by hand",
    work_dir: ModelsDir = None,
) -> None:
    """Make a model the champion, whatever the rule says of it."""
    from flows.models import promote_by_hand

    typer.echo(promote_by_hand(work_dir or context.obj, name, reason))


@models.command("rollback")
def roll_back_models(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A champion of before [the one before this one].")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the history.")] = "by hand",
    work_dir: ModelsDir = None,
) -> None:
    """Make a champion of before the champion again; no run undoes that."""
    from flows.models import roll_back

    typer.echo(roll_back(work_dir or context.obj, name, reason))


@app.command()
def runs(
    work_dir: Annotated[str, typer.Option("--work-dir", help="Where results and the cache live.")] = ".jora",
    last: Annotated[int, typer.Option("--last", min=1, help="How many, the newest.")] = 20,
) -> None:
    """The runs of a work directory: when, what became of them, how long they took."""
    from flows.cli.history import show_runs

    show_runs(work_dir, last)


RunName = Annotated[str, typer.Argument(help="The run's name or its beginning; latest is the last one.")]


@app.command()
def show(
    run: RunName = "latest",
    work_dir: Annotated[str, typer.Option("--work-dir", help="Where results and the cache live.")] = ".jora",
) -> None:
    """One run: the time and memory of each stage, its settings, its results, what went wrong."""
    from flows.cli.history import show_run

    show_run(work_dir, run)


@app.command()
def report(
    run: RunName = "latest",
    work_dir: Annotated[str, typer.Option("--work-dir", help="Where results and the cache live.")] = ".jora",
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write the report on a run anew, one page to read and to send, and print its path."""
    from flows.report import show_report

    show_report(work_dir, run, open_it)


@app.command()
def pin(
    run: RunName = "latest",
    work_dir: Annotated[str, typer.Option("--work-dir", help="Where results and the cache live.")] = ".jora",
    undo: Annotated[bool, typer.Option("--undo", help="Pin it no longer.")] = False,
) -> None:
    """Let jora gc keep a run's results, whatever their age."""
    from flows.cli.history import pin_run

    pin_run(work_dir, run, not undo)


@app.command()
def gc(
    work_dir: Annotated[str, typer.Option("--work-dir", help="Where results and the cache live.")] = ".jora",
    days: Annotated[float, typer.Option("--days", min=0, help="Keep the results of runs of so many days.")] = 30,
    delete: Annotated[bool, typer.Option("--delete", help="Really remove it; else it is only listed.")] = False,
) -> None:
    """What no champion, no pinned run, no run of the last days and no link needs, and how large it is."""
    from flows.cli.clean import clean

    clean(work_dir, days, delete)


@app.command()
def inspect(
    work_dir: Annotated[str, typer.Option("--work-dir", help="The work directory of a finished run.")] = ".jora",
    n: Annotated[int, typer.Option("--n", min=1, help="How many examples, spread over the split.")] = 3,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    id: Annotated[str | None, typer.Option("--id", help="Show this example, or those of this question.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Token by token, those that are learnt in green.")] = False,
) -> None:
    """Examples of the last dataset: context, oracle and quote highlighted, and what is learnt."""
    from flows.cli.show_examples import show_examples

    show_examples(work_dir, split, n, id, tokens)


@app.command()
def sweep(
    over: Annotated[str, typer.Argument(help="What to vary.", metavar="|".join(SWEEPS))],
    values: Annotated[
        str | None,
        typer.Option(
            "--values",
            help=f"With commas between them; if left out {'; '.join(f'{n} {s.default}' for n, s in SWEEPS.items())}.",
        ),
    ] = None,
    config: Config = None,
    corpus: Corpus = None,
    questions: Questions = None,
    base_model: BaseModel = None,
    work_dir: WorkDir = None,
    sets: Sets = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Where to put the plot, a PNG [below WORK_DIR/sweeps].")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Quality against cost: a run for each value of one setting, all else the same; a table and a plot.

    What the values have in common is built once, and what was run before is not run again. latest/ stays as it is.
    """
    from flows.settings.config import load_config
    from flows.settings.sweep_values import check_plot, check_values, find_sweep, read_values

    chosen = read_values(over, find_sweep(over).default if values is None else values)
    options = {"corpus": corpus, "questions": questions, "base_model": base_model, "work_dir": work_dir}
    settings = load_config(config, options, sets or ())
    check_values(settings, over, chosen, sets or ())
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
        typer.Argument(help="llama-2-7b, -13b, -70b, a config.json or its folder, a .gguf file, or embedded."),
    ] = None,
    config: Config = None,
    sets: Sets = None,
    topology: Annotated[
        str | None,
        typer.Option("--topology", help="Compile for TPUs that need not be here, such as v5e:2x2."),
    ] = None,
    device_memory: Annotated[
        str | None, typer.Option("--device-memory", help="Such as 24GB: find the longest row that fits.")
    ] = None,
    devices: Annotated[str, typer.Option("--devices", help="Numbers of devices to find it for.")] = "1,2,4,8",
    longest: Annotated[int, typer.Option("--longest", help="Look no further than rows of this length.")] = 32_768,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the longest row against devices, as a PNG.")] = None,
) -> None:
    """Bytes on each device, compile time and operations of the training step, compiled without weights.

    Mesh, row length, rank and targets are settings: --set mesh.tp=2 --set training.row_length=512 --set lora.rank=16
    """
    from flows.cli.plan import plan as answer
    from flows.settings.config import load_config

    settings = load_config(config, {"base_model": model}, sets or ())
    answer(settings, topology=topology, device_memory=device_memory, devices=devices, longest=longest, plot=plot)


def main() -> None:
    """Entry point: what a person did wrong is one line on stderr and exit code 2."""
    guarded(lambda: app(prog_name="jora"))


def guarded(command: Callable[[], Any]) -> None:
    """Run a command: a UserError becomes one line and exit code 2; any other exception keeps its traceback.

    With --debug a UserError shows its traceback too. Ctrl-C gives exit code 130, SIGTERM 143.
    """
    # Not Typer's: it is allowed before and after every command.
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    # Else the process dies where it stands, and the server that it started for itself lives on.
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        command()
    except UserError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; run the same command again to go on from the last checkpoint\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main()
