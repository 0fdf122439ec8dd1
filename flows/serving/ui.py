"""`jora ui`: ask and compare in the browser, see retrieved chunks, and start a run of a deployment.

Gradio is an extra: pip install -c constraints.txt -e '.[ui]'.
"""

import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from data.prompting.growing_answer import GrowingAnswer
from data.report.answer_page import answer_html, context_html
from flows.serving.opening import open_last_run
from flows.serving.serve import KEY, listen, warm_up
from flows.settings.serve_settings import ServeSettings
from jora_model.generation.engine import Produced
from jora_model.generation.engine_thread import EngineThread
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import Answering, PreparedQuestion
from tasks.answering.asked_models import BASE, LATEST
from tasks.records.models import CHAMPION
from user_error import UserError

USER = "jora"
_MOST_CHARACTERS = 4000  # of a question


def ui(work_dir: str, names: Sequence[str] | None, settings: ServeSettings) -> None:
    """Serve the page until interrupted.

    Args:
        names: models, as `open_answering`.

    Raises:
        UserError: Gradio is not installed; and as `serve`.
    """
    # Before the import: no telemetry, no check for a newer version.
    os.environ.update({"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"})
    try:
        import gradio
    except ImportError:
        raise UserError("jora ui needs Gradio: pip install -c constraints.txt -e '.[ui]'") from None
    key = os.environ.get(KEY) or None
    if key is None and not settings.loopback:
        raise UserError(f"others can reach {settings.host}: set a key in {KEY}, or listen at 127.0.0.1")
    with listen(settings) as listening:
        port = listening.getsockname()[1]  # the free port, if 0 was given; Gradio binds it itself
    answering, config = open_last_run(work_dir, names, slots=settings.slots, float32=settings.float32)
    warm_up(answering, config.generation)
    with EngineThread(answering.engine) as thread:
        page = build(Asker(answering, thread, config.generation), work_dir)
        page.queue(max_size=settings.queue or 1, default_concurrency_limit=settings.slots)
        _, url, _ = page.launch(
            server_name=settings.host,
            server_port=port,
            auth=(USER, key) if key else None,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            footer_links=[],
            max_file_size=settings.max_body_bytes,
            # Local fonts only.
            theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
            css=".jora-answer { font-size: 1.2em }",
        )
        typer.echo(f"serving {url}" + (f" (user {USER}, password: the key in {KEY})" if key else ""), err=True)
        try:
            threading.Event().wait()
        finally:
            page.close(verbose=False)


class Asker:
    """Answers the page's questions."""

    def __init__(self, answering: Answering, thread: EngineThread, settings: GenerationSettings) -> None:
        self._answering = answering
        self._thread = thread
        self._settings = settings
        self._retrieving = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Names of models, champion and latest first."""
        first = [name for name in (CHAMPION, LATEST) if name in self._answering.names]
        return [*first, *(name for name in self._answering.names if name not in first)]

    def answer(self, question: str, name: str, compare: bool) -> Iterator[tuple[str, str, str]]:
        """Yield growing HTML: answer, the base model's answer or "", and the chunks.

        Raises:
            UserError: the question is empty or too long.
        """
        if len(question) > _MOST_CHARACTERS:
            raise UserError(f"the question has {len(question)} characters; at most {_MOST_CHARACTERS} are allowed")
        names = list(dict.fromkeys([name, BASE] if compare else [name]))
        with self._retrieving:
            asked = [self._answering.ask(question, self._answering.find(one)) for one in names]
        shown = ["", ""]
        quotes: tuple[str, ...] = ()
        for index, answer, finished in self._grow(asked):
            shown[index] = answer_html(names[index], answer.parsed, asked[index].context, finished=finished)
            quotes = answer.parsed.quotes if index == 0 else quotes
            yield shown[0], shown[1], context_html(asked[0].context, quotes)

    def _grow(self, asked: Sequence[PreparedQuestion]) -> Iterator[tuple[int, GrowingAnswer, bool]]:
        produced: queue.SimpleQueue[tuple[int, Produced | Exception]] = queue.SimpleQueue()
        answers = [one.answer() for one in asked]
        numbers: dict[int, int] = {}
        try:
            for index, one in enumerate(asked):

                def hear(item: Produced | Exception, index: int = index) -> None:
                    produced.put((index, item))

                numbers[index] = self._thread.ask(one.request(self._settings), hear)
            while numbers:
                index, item = produced.get()
                if isinstance(item, Exception):
                    raise item
                if index not in numbers:
                    continue
                answer = answers[index]
                new = answer.feed(item.token)
                over = answer.done or item.finished is not None
                if over:
                    new += answer.finish()
                    self._thread.cancel(numbers.pop(index))
                if new or over:
                    yield index, answer, over
        finally:
            for number in numbers.values():
                self._thread.cancel(number)


def build(asker: Asker, work_dir: str) -> Any:
    """The Gradio page, not yet served."""
    import gradio

    def answer(question: str, name: str, compare: bool) -> Iterator[tuple[str, str, str]]:
        try:
            yield from asker.answer(question, name, compare)
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from None

    def start(deployment: str, parameters: str) -> str:
        try:
            return start_run(deployment, parameters)
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from None

    with gradio.Blocks(title="jora", analytics_enabled=False) as page:
        with gradio.Tab("Ask"):
            question = gradio.Textbox(label="Question", autofocus=True)
            with gradio.Row():
                name = gradio.Dropdown(asker.names, value=asker.names[0], label="Model")
                compare = gradio.Checkbox(label="Compare with the base model")
                ask = gradio.Button("Ask", variant="primary")
            with gradio.Row():
                tuned, base = gradio.HTML(elem_id="answer"), gradio.HTML(elem_id="base")
            chunks = gradio.HTML(elem_id="chunks", label="Retrieved", show_label=True)
            for event in (ask.click, question.submit):
                event(answer, [question, name, compare], [tuned, base, chunks], concurrency_limit=None)
        with gradio.Tab("Run"):
            deployment = gradio.Textbox("raft-finetune/weekly", label="Deployment")
            parameters = gradio.Code(
                json.dumps({"work_dir": str(Path(work_dir).resolve())}, indent=1), language="json", label="Parameters"
            )
            run = gradio.Button("Start a run")
            started = gradio.Markdown(elem_id="started")
            run.click(start, [deployment, parameters], started)
    return page


def start_run(deployment: str, parameters: str) -> str:
    """Start a run of FLOW/DEPLOYMENT without waiting for it; returns a line of Markdown about it.

    Raises:
        UserError: the parameters are no JSON object, or there is no such deployment or no server.
    """
    try:
        values = json.loads(parameters or "{}")
    except json.JSONDecodeError as error:
        raise UserError(f"the parameters are not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError("the parameters must be a JSON object, such as {}")
    import httpx
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        raise UserError("no Prefect server is configured: set PREFECT_API_URL and restart jora ui")
    try:
        run: Any = run_deployment(deployment, parameters=values, timeout=0)
    except ObjectNotFound:
        raise UserError(f"there is no deployment {deployment}; list them with: prefect deployment ls") from None
    except PrefectHTTPStatusError as error:
        raise UserError(f"the server refused: {error.response.text[:300]}") from None
    except httpx.HTTPError as error:
        raise UserError(f"the Prefect server does not respond ({type(error).__name__})") from None
    return f"Started **{run.name}** (`{run.id}`); jora runs lists it once it has ended."
