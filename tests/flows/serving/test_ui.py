"""`jora ui` in a real headless browser: asks, compares, shows the chunks, and says what went wrong with a run."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from data.documents.chunks import Chunk
from data.prompting.prompts import Parsed
from data.report.answer_page import answer_html, context_html
from testing.command_line import JORA, ROOT
from testing.waiting import wait_for

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def url(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("ui")
    log = folder / "log"
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment["PREFECT_HOME"] = str(folder / "prefect")
    command = [*JORA, "ui", "--work-dir", str(finished), "--port", "0"]
    with log.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stderr=file, env=environment) as process:
        try:
            wait_for(lambda: process.poll() is not None or b"serving" in log.read_bytes(), 120)
            yield re.findall(r"serving (http://\S+)", log.read_text())[0]
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def page(url: str) -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.strangers = []
        page.on("request", lambda request: page.strangers.append(request.url))
        page.goto(url)
        yield page
        browser.close()


@pytest.mark.slow
def test_asks_and_compares_in_the_browser(page: Any, url: str, tmp_path: Path) -> None:
    page.get_by_label("Question").fill("Who broke a collarbone?")
    page.get_by_label("Compare with the base model").check()
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator("#base blockquote, #base .jora-answer").first.wait_for()
    page.locator("#chunks details").nth(1).wait_for()
    assert page.locator("#answer .jora-answer").inner_text()
    assert page.locator("#base h3").inner_text() == "base"
    page.screenshot(path=os.environ.get("JORA_UI_PICTURE", str(tmp_path / "ui.png")), full_page=True)
    assert {one for one in page.strangers if not one.startswith((url.rstrip("/"), "data:", "blob:"))} == set()


@pytest.mark.slow
def test_what_went_wrong_is_shown(page: Any) -> None:
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_text("the question is empty").first.wait_for()
    page.get_by_role("tab", name="Run").click()
    page.get_by_role("button", name="Start a run").click()
    page.get_by_text("no Prefect server is configured").first.wait_for()


def test_a_quote_is_marked_and_nothing_is_markup() -> None:
    chunk = Chunk("c", "d", "a.md", 0, 20, ("<b>",), "It rests\nin March. <script>", pages=(3,))
    assert "<mark>It rests\nin March.</mark> &lt;script&gt;" in context_html([chunk], ["It rests in March."])
    shown = answer_html("m", Parsed("<i>x", ("It rests in March.", "Never."), False), [chunk], finished=True)
    assert "&lt;i&gt;x" in shown and "a.md, page 3, &lt;b&gt;" in shown and "do not rely on it" in shown


@pytest.mark.slow
def test_starts_a_run_through_its_deployment(prefect_server: str, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client

    from flows.raft import raft_finetune
    from flows.serving.ui import start_run

    raft_finetune.to_deployment("mine").apply()
    told = start_run("raft-finetune/mine", json.dumps({"work_dir": str(tmp_path)}))
    (id,) = re.findall(r"`(\S+)`", told)
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(id))
    assert run.parameters == {"work_dir": str(tmp_path)} and run.state is not None and run.state.is_scheduled()
    with pytest.raises(ValueError, match="there is no deployment raft-finetune/nobodys"):
        start_run("raft-finetune/nobodys", "{}")
    with pytest.raises(ValueError, match="must be a JSON object"):
        start_run("raft-finetune/mine", "[]")
    with pytest.raises(ValueError, match=r"the server refused: .*work_dir"):
        start_run("raft-finetune/mine", json.dumps({"work_dir": 7}))
