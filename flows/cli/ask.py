"""Ask the models of a work directory on the command line: once, base beside tuned, or as long as somebody asks."""

import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from data.prompting.growing_answer import GrowingAnswer
from data.prompting.output_stream import OutputPiece
from flows.serving.opening import open_last_run
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import Answering, Asked, answer_together
from tasks.answering.asked_models import BASE, LATEST
from user_error import UserError

_NOT_FOUND = "(not found word for word in the retrieved documents: do not rely on it)"


def ask(question: str | None, work_dir: str, *, tuned: bool, model: str = LATEST, compare: bool = False) -> None:
    """Print the answer as it is generated, the quote that proves it, and where it stands: document, pages, headings.

    The documents are those of the last run, whichever model is asked. Each question stands by itself.

    Args:
        question: None asks for questions until there are no more.
        tuned: else the base of `model` is asked.
        model: `latest`, `champion`, or the name of a registered model.
        compare: ask the base model, too, and show both side by side.

    Raises:
        UserError: an empty question; no run has got as far as is asked for; a result is damaged.
    """
    if question is not None and not question.strip():
        raise UserError('the question is empty; ask something: jora ask "Who keeps the keys?"')
    names = [BASE, model] if compare else [model if tuned else BASE]
    opened, config = open_last_run(work_dir, names, base_of=model, slots=len(names))
    if question is not None:
        _answer(opened, question, names, config.generation)
        return
    while (line := _next_question()) is not None:
        if line.strip():
            try:
                _answer(opened, line, names, config.generation)
            except ValueError as error:  # such as a question that is too long; the next one may do
                typer.echo(f"error: {error}", err=True)


def _next_question() -> str | None:
    """A line from the terminal, or from whatever is sent; None at its end."""
    if not sys.stdin.isatty():
        return sys.stdin.readline() or None
    with suppress(ImportError):  # not on every system
        import readline  # noqa: F401  input() then has a history and can be edited
    try:
        return input("\n? ")
    except EOFError:
        typer.echo("")
        return None


def _answer(opened: Answering, question: str, names: Sequence[str], settings: GenerationSettings) -> None:
    asked = [opened.ask(question, opened.find(name)) for name in names]
    if len(asked) > 1:
        _compare(opened, asked, settings)
        return
    printer = _Printer(asked[0])
    for _, pieces, answer in answer_together(opened.engine, asked, settings):
        printer.show(pieces)
        grown = answer
    printer.end(grown)


class _Printer:
    """Writes pieces as they come; one kind after another stands in paragraphs of its own."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._kind = ""
        self._quote = ""

    def show(self, pieces: Sequence[OutputPiece]) -> None:
        for kind, text in pieces:
            if kind == "end of quote":
                typer.echo(f'"\n  {_place(self._asked, self._quote)}')
                self._kind = ""
                continue
            if kind != self._kind:
                typer.echo("\n" if self._kind else "", nl=False)
                typer.echo({"quote": '  "', "answer": "\n" if self._quote else ""}.get(kind, ""), nl=False)
                self._quote = "" if kind == "quote" else self._quote
                self._kind = kind
            self._quote += text if kind == "quote" else ""
            typer.echo(text, nl=False)
            sys.stdout.flush()

    def end(self, answer: GrowingAnswer) -> None:
        if self._kind:
            typer.echo("")
        if not answer.parsed.answer:
            typer.echo(f"(no answer within {answer.tokens} tokens: raise generation.max_new_tokens)")
        if not answer.parsed.quotes:
            typer.echo(_retrieved(self._asked))


def _compare(opened: Answering, asked: Sequence[Asked], settings: GenerationSettings) -> None:
    """Both answers in columns, drawn anew while they grow where somebody looks on."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    texts = ["" for _ in asked]
    # A fixed width where nobody looks on, so that a file does not depend on a terminal.
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False, markup=False)

    def table() -> Table:
        drawn = Table(expand=True, show_lines=False)
        for one in asked:
            drawn.add_column(one.model.name, ratio=1)
        drawn.add_row(*texts)
        return drawn

    with Live(console=console, get_renderable=table, auto_refresh=False, transient=True) as live:
        for place, _, answer in answer_together(opened.engine, asked, settings):
            texts[place] = describe(asked[place], answer)
            if console.is_terminal:
                live.refresh()
    console.print(table())
    typer.echo(_retrieved(asked[0]))


def describe(asked: Asked, answer: GrowingAnswer) -> str:
    """The answer so far with its quotes and their places, as text."""
    parts = [answer.parsed.answer]
    parts += [f'"{quote}"\n{_place(asked, quote)}' for quote in answer.parsed.quotes]
    return "\n\n".join(filter(None, parts))


def _place(asked: Asked, quote: str) -> str:
    chunk = asked.source(quote)
    return ", ".join(filter(None, (chunk.place, " > ".join(chunk.heading_path)))) if chunk else _NOT_FOUND


def _retrieved(asked: Asked) -> str:
    places = ", ".join(sorted({chunk.place for chunk in asked.context}))
    return f"\nretrieved: {places}"
