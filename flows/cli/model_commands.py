"""The commands `jora models ...`."""

from typing import Annotated

import typer

from flows.cli.options import OptionalWorkDir, WorkDir

models = typer.Typer(help="List, compare and promote registered models.", add_completion=False)

Name = Annotated[str, typer.Argument(help="Name of a model, a prefix of it, or champion.")]
Reason = Annotated[str, typer.Option("--reason", help="Reason, kept in the history.")]


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context, work_dir: WorkDir = ".jora") -> None:
    """List registered models with their scores, the champion and past decisions."""
    context.obj = work_dir  # for the commands below, which may be given their own
    if context.invoked_subcommand is None:
        from flows.cli.model_tables import list_models as show

        show(work_dir)


@models.command("compare")
def compare_models(
    context: typer.Context,
    new: Name,
    standing: Annotated[str, typer.Argument(help="Model to compare with.")] = "champion",
    work_dir: OptionalWorkDir = None,
) -> None:
    """Compare two models on the questions that both answered."""
    from flows.cli.model_tables import compare_models as show

    show(work_dir or context.obj, new, standing)


@models.command("promote")
def promote_model(
    context: typer.Context, name: Name, reason: Reason = "by hand", work_dir: OptionalWorkDir = None
) -> None:
    """Make a model the champion, regardless of the promotion rule."""
    from flows.models import promote_by_hand

    typer.echo(promote_by_hand(work_dir or context.obj, name, reason))


@models.command("rollback")
def roll_back_models(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="An earlier champion.", show_default="the previous one")] = None,
    reason: Reason = "by hand",
    work_dir: OptionalWorkDir = None,
) -> None:
    """Restore the previous champion. Later runs will not override it."""
    from flows.models import roll_back

    typer.echo(roll_back(work_dir or context.obj, name, reason))
