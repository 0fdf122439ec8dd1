"""The commands of `jora` that answer questions: ask, serve, ui."""

from typing import Annotated

import typer

from flows.cli.options import WorkDir
from user_error import UserError

answers = typer.Typer(add_completion=False)

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Model to load: base, latest, champion or a name. Repeatable.",
        show_default="base, latest, champion and the newest",
    ),
]
Host = Annotated[str, typer.Option("--host", help="Bind address; any but loopback requires JORA_API_KEY.")]
Port = Annotated[int, typer.Option("--port", help="Port; 0 picks a free one.")]


@answers.command()
def ask(
    question: Annotated[str | None, typer.Argument(help="The question; if omitted, read line by line.")] = None,
    work_dir: WorkDir = ".jora",
    base: Annotated[bool, typer.Option("--base", help="Ask the base model instead of the tuned one.")] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="latest (last run), champion, the name of a registered model, or the folder of a PEFT adapter.",
        ),
    ] = "latest",
    compare: Annotated[bool, typer.Option("--compare", help="Show base and tuned model side by side.")] = False,
) -> None:
    """Answer a question from the last run's documents, with quotes and their sources."""
    from flows.cli.ask import ask as answer

    if base and compare:
        raise UserError("--compare shows the base model beside the tuned one; leave --base out")
    answer(question, work_dir, tuned=not base, model=model, compare=compare)


@answers.command()
def serve(
    work_dir: WorkDir = ".jora",
    models: Models = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    slots: Annotated[int, typer.Option("--slots", help="Answers generated at once.")] = 16,
    queue: Annotated[int, typer.Option("--queue", help="Requests that may wait for a slot.")] = 64,
    max_body_bytes: Annotated[int, typer.Option("--max-body-bytes", help="Maximum size of a request.")] = 1 << 20,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Maximum tokens of an answer.")] = 1024,
    request_seconds: Annotated[float, typer.Option("--request-seconds", help="Maximum time of a request.")] = 120.0,
    grace_seconds: Annotated[
        float, typer.Option("--grace-seconds", help="Time to finish running answers at shutdown.")
    ] = 10.0,
    float32: Annotated[bool, typer.Option("--float32", help="Slower; answers do not vary with batching.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Name of this server to answer to, or *. Repeatable.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", help="Origin of web pages that may ask (CORS), or *. Repeatable."),
    ] = None,
    reply_format: Annotated[
        str, typer.Option("--reply-format", help="Content of a reply: answer; or text, with quotes and reasons in it.")
    ] = "answer",
    earlier_turns: Annotated[
        str, typer.Option("--earlier-turns", help="Turns before the question: rewrite it by them, refuse, or ignore.")
    ] = "rewrite",
) -> None:
    """Serve OpenAI's API (chat and text completions, models) with retrieval and sources."""
    settings = {name: value for name, value in locals().items() if name not in ("work_dir", "models")}
    settings |= {name: tuple(settings[name] or ()) for name in ("allow_host", "allow_origin")}
    from flows.serving.serve import serve as run
    from flows.settings.serve_settings import make_settings

    run(work_dir, models, make_settings(**settings))


@answers.command()
def ui(work_dir: WorkDir = ".jora", models: Models = None, host: Host = "127.0.0.1", port: Port = 7860) -> None:
    """Ask and compare models in the browser, and start runs of a deployment."""
    from flows.serving.ui import ui as run
    from flows.settings.serve_settings import make_settings

    limits = {"slots": 4, "queue": 32, "max_body_bytes": 1 << 20, "max_tokens": 1024}
    times = {"request_seconds": 120.0, "grace_seconds": 10.0}
    run(work_dir, models, make_settings(host=host, port=port, float32=False, **limits, **times))
