"""The commands of `jora` that ask models: ask, serve, ui."""

from typing import Annotated

import typer

answers = typer.Typer(add_completion=False)

WorkDir = Annotated[str, typer.Option("--work-dir", help="The work directory of a finished run.")]
Model = Annotated[
    str, typer.Option("--model", help="latest (of the last run), champion, or the name of a registered model.")
]


@answers.command()
def ask(
    question: Annotated[str | None, typer.Argument(help="What to ask; if left out, line by line.")] = None,
    work_dir: WorkDir = ".jora",
    base: Annotated[bool, typer.Option("--base", help="Ask the base model instead of the tuned one.")] = False,
    model: Model = "latest",
    compare: Annotated[bool, typer.Option("--compare", help="Show the base model beside the tuned one.")] = False,
) -> None:
    """Answer a question from the documents of the last run, with the quote and where it stands."""
    from flows.ask import ask as answer

    if base and compare:
        raise ValueError("--compare shows the base model beside the tuned one; leave --base out")
    answer(question, work_dir, tuned=not base, model=model, compare=compare)
