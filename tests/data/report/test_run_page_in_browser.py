"""The page of a run in a real browser, where one is installed: it is drawn, and dark where the reader's screen is."""

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from data.report.run_facts import Figure, Interval, RunFacts, RungScores, Series
from data.report.run_page import run_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RUN = RunFacts(
    name="run",
    state="completed",
    about="a run",
    rungs=[RungScores("tuned + retrieval", 8, {"token_f1": Interval(30, 20, 40)})],
    curves=[Figure("Loss", "update", "", [Series("training", [1, 2, 3], [3.0, 2.0, 1.0])])],
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
@pytest.mark.parametrize(("scheme", "background"), [(0, (0x14, 0x18, 0x1D)), (1, (0xFF, 0xFF, 0xFF))])
@pytest.mark.slow
def test_the_page_is_drawn_in_the_readers_colours(tmp_path: Path, scheme: int, background: tuple[int, ...]) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(run_page(RUN), encoding="utf-8")
    options = [f"--screenshot={picture}", f"--blink-settings=preferredColorScheme={scheme}", "--window-size=500,900"]
    # Its own sandbox is not to be had as root, and the page has no scripts.
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        f"--user-data-dir={tmp_path}",
    ]
    done = subprocess.run([str(CHROMIUM), *quiet, *options, page.as_uri()], capture_output=True, text=True, timeout=60)
    assert picture.exists(), done.stderr
    with Image.open(picture) as drawn:
        seen = drawn.convert("RGB")
        assert seen.getpixel((2, 2)) == background
        colours = {colour for _, colour in seen.getcolors(1 << 24) or ()}
    blue = (0x6E, 0xA8, 0xE6) if scheme == 0 else (0x2F, 0x6F, 0xB7)
    assert blue in colours, "the dot and its interval"
