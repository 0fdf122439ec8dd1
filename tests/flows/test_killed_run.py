"""kill -9 of a run in the middle of training: the same command again ends with the same adapter, bit for bit.

Its index is damaged meanwhile, which is noticed and repaired, and changes nothing for the stages that follow.
"""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tasks.store.store import Store
from testing.command_line import Started, start_jora
from testing.jobs_here import share_programs
from testing.small_runs import SMALL, as_options, small_sources

UPDATES = 40
TRAINING = (f"training.max_updates={UPDATES}", "training.epochs=20", "training.checkpoint_every=1")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(prefect_server: str, tmp_path: Path) -> None:
    options = as_options(small_sources(tmp_path), (*SMALL, *TRAINING), "train")

    def start(work: Path) -> Started:
        log = work.with_suffix(".log")
        return start_jora("train", *options, "--work-dir", work, prefect=prefect_server, log=log)

    whole, parts = tmp_path / "work", tmp_path / "parts"
    share_programs(Store(parts))
    with start(whole) as process:
        assert process.wait() == 0, whole.with_suffix(".log").read_text()
    with start(parts) as process:
        while lines_of_metrics(parts) < 5:
            assert process.poll() is None, parts.with_suffix(".log").read_text()
            time.sleep(0.01)
        process.kill()
    assert not (parts / "latest").exists()
    (index,) = (parts / "artifacts" / "index").glob("*/index.faiss")
    index.write_bytes(index.read_bytes()[:-100])
    with start(parts) as process:
        assert process.wait() == 0, parts.with_suffix(".log").read_text()

    printed = parts.with_suffix(".log").read_text()
    assert re.search(r"index-chunks: artifact index/\w+ is broken: index.faiss has .*; building it again", printed)
    assert "index-chunks: built" in printed
    assert "build-dataset: cached" in printed
    summary = json.loads((parts / "latest" / "training" / "training.json").read_text())
    assert summary["updates_in_this_process"] < summary["updates"] == UPDATES
    assert re.search(rf"resuming after update \d+ of {UPDATES}", printed)
    adapters = [work / "latest" / "training" / "adapter_model.safetensors" for work in (whole, parts)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
    assert not list((parts / "scratch").iterdir()), "checkpoints are gone once they have served"


@pytest.mark.slow
def test_a_terminated_run_leaves_no_process(tmp_path: Path) -> None:
    """Neither the trainer nor the server that the run started for itself."""
    options = as_options(small_sources(tmp_path), (*SMALL, *TRAINING), "train")
    work, home, log = tmp_path / "work", str(tmp_path / "prefect"), tmp_path / "log"
    with start_jora("train", *options, prefect=None, log=log, PREFECT_HOME=home) as process:
        while lines_of_metrics(work) < 2:
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        assert processes_with(home) >= 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert processes_with(home) == 0


def processes_with(text: str) -> int:
    """How many processes have a text in their environment."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += text.encode() in path.read_bytes()
        except OSError:  # gone, or not ours
            continue
    return found


def lines_of_metrics(work: Path) -> int:
    return sum(path.read_text().count("\n") for path in work.glob("scratch/*/output/metrics.jsonl"))
