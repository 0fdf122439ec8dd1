"""`jora ask`: one question, base and tuned model side by side, or questions line by line."""

import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from data.prompting.growing_answer import GrowingAnswer
from data.prompting.output_stream import OutputPiece
from data.report.answer_page import NOT_FOUND
from flows.serving.opening import open_last_run
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import Answering, PreparedQuestion, answer_together
from tasks.answering.asked_models import BASE, LATEST
from user_error import UserError

_NO_SOURCE = f"({NOT_FOUND})"


def ask(question: str | None, work_dir: str, *, tuned: bool, model: str = LATEST, compare: bool = False) -> None:
    """Print the answer as it is generated, its quotes and their sources: document, pages, headings.

    The documents are those of the last run, whichever model is asked. Questions are independent of each other.

    Args:
        question: None: read questions from the terminal or stdin until it ends.
        tuned: False asks the base of `model`.
        model: `latest`, `champion`, or the name of a registered model.
        compare: ask the base model too, and show both side by side.

    Raises:
        UserError: the question is empty, the last run did not get far enough, or a result is damaged.
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
            except UserError as error:  # for example, the question is too long; the next may not be
                typer.echo(f"error: {error}", err=True)


def _next_question() -> str | None:
    """The next line of the terminal or of stdin; None at its end."""
    if not sys.stdin.isatty():
        return sys.stdin.readline() or None
    with suppress(ImportError):  # missing on some systems
        import readline  # noqa: F401  gives input() a history and line editing
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
    """Prints pieces as they come, each kind in a paragraph of its own."""

    def __init__(self, asked: PreparedQuestion) -> None:
        self._asked = asked
        self._kind = ""
        self._quote = ""

    def show(self, pieces: Sequence[OutputPiece]) -> None:
        for kind, text in pieces:
            if kind == "end of quote":
                typer.echo(f'"\n  {_source(self._asked, self._quote)}')
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


def _compare(opened: Answering, asked: Sequence[PreparedQuestion], settings: GenerationSettings) -> None:
    """Print both answers in columns; on a terminal they are redrawn as they grow."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    texts = ["" for _ in asked]
    # A fixed width if stdout is no terminal, so that a file does not depend on one.
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False, markup=False)

    def table() -> Table:
        drawn = Table(expand=True, show_lines=False)
        for one in asked:
            drawn.add_column(one.model.name, ratio=1)
        drawn.add_row(*texts)
        return drawn

    with Live(console=console, get_renderable=table, auto_refresh=False, transient=True) as live:
        for index, _, answer in answer_together(opened.engine, asked, settings):
            texts[index] = describe(asked[index], answer)
            if console.is_terminal:
                live.refresh()
    console.print(table())
    typer.echo(_retrieved(asked[0]))


def describe(asked: PreparedQuestion, answer: GrowingAnswer) -> str:
    """The answer so far with its quotes and their sources, as text."""
    parts = [answer.parsed.answer]
    parts += [f'"{quote}"\n{_source(asked, quote)}' for quote in answer.parsed.quotes]
    return "\n\n".join(filter(None, parts))


def _source(asked: PreparedQuestion, quote: str) -> str:
    chunk = asked.source(quote)
    return ", ".join(filter(None, (chunk.place, " > ".join(chunk.heading_path)))) if chunk else _NO_SOURCE


def _retrieved(asked: PreparedQuestion) -> str:
    return "\nretrieved: " + ", ".join(sorted({chunk.place for chunk in asked.context}))
