"""Options that several commands of `jora` share. Nothing heavy at the top: `jora --help` imports this."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.settings.used import check_used

if TYPE_CHECKING:
    from flows.settings.config import RunConfig

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; other options override it.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting as group.key=value, e.g. --set training.epochs=2. Repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and list the stages that would run; build nothing.")
]
WorkDir = Annotated[str, typer.Option("--work-dir", help="Directory of results and cache.")]
OptionalWorkDir = Annotated[
    str | None, typer.Option("--work-dir", help="Directory of results and cache.", show_default=".jora")
]
RunName = Annotated[str, typer.Argument(help="Name of a run or a prefix of it; latest is the most recent run.")]


@dataclass(frozen=True)
class RunOptions:
    """The settings that a command of the pipeline was given; None: the default of `RunConfig`."""

    config: Config = None
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", help="Documents: a folder, a file of rows, a Hugging Face dataset or a SQuAD file."),
    ] = None
    questions: Annotated[
        str | None, typer.Option("--questions", help="Questions: .jsonl, .json (rows, Alpaca or SQuAD) or .parquet.")
    ] = None
    base_model: Annotated[
        str | None,
        typer.Option("--base-model", help="Hugging Face id, folder, .gguf file, or embedded (SmolLM2-135M)."),
    ] = None
    work_dir: OptionalWorkDir = None
    sets: Sets = None

    def load(self, command: str, before: Sequence[str] = (), after: Sequence[str] = ()) -> "RunConfig":
        """The checked settings of a command; `before` and `after` are further `--set` pairs, a person's between them.

        Raises:
            UserError: as `load_config` and `check_used`.
        """
        from flows.settings.config import load_config

        options = asdict(self)
        config, sets = options.pop("config"), options.pop("sets")
        settings = load_config(config, options, [*before, *(sets or ()), *after])
        check_used(command, sets or ())
        return settings


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter, a RunOptions, is replaced by one option for each of its fields."""
    shared = inspect.signature(RunOptions).parameters
    _, *own = inspect.signature(command).parameters.values()

    def wrapper(**values: object) -> None:
        options = RunOptions(**{name: values.pop(name) for name in shared})  # type: ignore[arg-type]
        command(options, **values)

    update_wrapper(wrapper, command)
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared.values())]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapper
