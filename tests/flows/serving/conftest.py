"""A small run that is opened once, and its server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.serving.opening import open_last_run
from flows.settings.config import RunConfig
from tasks.answering.answering import Answering, answer_together
from testing.chat_servers import QUESTIONS, serving


@pytest.fixture(scope="module")
def work(finished: Path) -> Path:
    return finished


@pytest.fixture(scope="module")
def opened(work: Path) -> tuple[Answering, RunConfig]:
    return open_last_run(str(work), None, slots=4, float32=True)


@pytest.fixture(scope="module")
def said(opened: tuple[Answering, RunConfig]) -> dict[tuple[str, str], str]:
    """(model, question) -> what `jora ask` says."""
    answering, config = opened
    pairs = [(name, question) for name in ("base", "latest") for question in QUESTIONS]
    asked = [answering.ask(question, answering.find(name)) for name, question in pairs]
    found = {place: answer for place, _, answer in answer_together(answering.engine, asked, config.generation)}
    return {pair: found[place].parsed.answer for place, pair in enumerate(pairs)}


@pytest.fixture(scope="module")
def url(opened: tuple[Answering, RunConfig], said: object) -> Iterator[str]:
    with serving(*opened) as url:
        yield url
