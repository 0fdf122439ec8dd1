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


@answers.command()
def serve(
    work_dir: WorkDir = ".jora",
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model to load, again for more: base, latest, champion, a name [the newest]."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; others' need a key in JORA_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any that is free.")] = 8000,
    slots: Annotated[int, typer.Option("--slots", min=1, max=256, help="Answers that grow at once.")] = 16,
    queue: Annotated[int, typer.Option("--queue", min=0, help="Requests that wait beside these.")] = 64,
    max_body_bytes: Annotated[int, typer.Option("--max-body-bytes", min=1, help="Size of a request.")] = 1 << 20,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer, at most.")] = 1024,
    request_seconds: Annotated[float, typer.Option("--request-seconds", help="Time of a request, in all.")] = 120.0,
    grace_seconds: Annotated[float, typer.Option("--grace-seconds", min=0, help="For answers, at the end.")] = 10.0,
) -> None:
    """Answer over HTTP as OpenAI's servers do (/v1/chat/completions, /v1/models), with retrieval and sources."""
    from flows.serve import serve as run
    from flows.serve_settings import make_settings

    given = {
        "host": host,
        "port": port,
        "slots": slots,
        "queue": queue,
        "max_body_bytes": max_body_bytes,
        "max_tokens": max_tokens,
        "request_seconds": request_seconds,
        "grace_seconds": grace_seconds,
    }
    run(work_dir, models, make_settings(given))
