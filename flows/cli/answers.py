"""The commands of `jora` that ask models: ask, serve, ui."""

from typing import Annotated

import typer

from user_error import UserError

answers = typer.Typer(add_completion=False)

WorkDir = Annotated[str, typer.Option("--work-dir", help="The work directory of a finished run.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="latest (of the last run), champion, a registered model's name, or the folder of a PEFT adapter.",
    ),
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
    from flows.cli.ask import ask as answer

    if base and compare:
        raise UserError("--compare shows the base model beside the tuned one; leave --base out")
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
    float32: Annotated[
        bool, typer.Option("--float32", help="Slower, and no answer depends on who is answered beside it.")
    ] = False,
) -> None:
    """Answer over HTTP as OpenAI's servers do (/v1/chat/completions, /v1/models), with retrieval and sources."""
    from flows.serving.serve import serve as run
    from flows.settings.serve_settings import make_settings

    given = {
        "host": host,
        "port": port,
        "slots": slots,
        "queue": queue,
        "max_body_bytes": max_body_bytes,
        "max_tokens": max_tokens,
        "request_seconds": request_seconds,
        "grace_seconds": grace_seconds,
        "float32": float32,
    }
    run(work_dir, models, make_settings(given))


@answers.command()
def ui(
    work_dir: WorkDir = ".jora",
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model to load, again for more: base, latest, champion, a name [the newest]."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; others' need a key in JORA_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any that is free.")] = 7860,
) -> None:
    """Ask and compare in the browser, and start a run through its deployment."""
    from flows.serving.ui import ui as run
    from flows.settings.serve_settings import make_settings

    limits = {"slots": 4, "queue": 32, "max_body_bytes": 1 << 20, "max_tokens": 1024}
    times = {"request_seconds": 120.0, "grace_seconds": 10.0, "float32": False}
    run(work_dir, models, make_settings({"host": host, "port": port, **limits, **times}))
