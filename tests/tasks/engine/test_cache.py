"""Stages in real Prefect flows: what runs, what is cached, what heals, what fails and how."""

import logging
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from prefect import flow
from pydantic import BaseModel, ConfigDict

from tasks.engine.cache import Stage, stage
from tasks.engine.code import StageCode
from tasks.store.artifacts import Artifact, BrokenArtifact
from tasks.store.store import Store

pytestmark = pytest.mark.usefixtures("prefect_server")


class Settings(BaseModel):
    """Settings of the stage `double`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: int = 2
    fail: str = ""


RUNS: list[str] = []


@pytest.fixture(autouse=True)
def no_runs() -> None:
    RUNS.clear()


@stage(name="snapshot", version=1, cache=False)
def snapshot(store: Store, text: str, folder: Path | None = None) -> Artifact:
    """Looks at the world each time."""
    RUNS.append("snapshot")
    with store.build("text") as build:
        (build.folder / "text.txt").write_text(text)
        build.count(characters=len(text))
    return build.artifact


@stage(name="double", version=1, retries=2)
def double(store: Store, text: Artifact, settings: Settings) -> Artifact:
    """The text, several times."""
    RUNS.append("double")
    if settings.fail == "value":
        raise ValueError("times must be even")
    if settings.fail == "once" and RUNS.count("double") == 1:
        raise OSError("the disk was away")
    if settings.fail == "file":
        raise FileNotFoundError("no such file")
    content = (store.path(text) / "text.txt").read_text() * settings.times
    with store.build("doubled", settings=settings, inputs=(text,)) as build:
        (build.folder / "text.txt").write_text(content)
        build.count(characters=len(content))
    return build.artifact


@stage(name="measure", version=1)
def measure(store: Store, text: Artifact, extra: object = None) -> Artifact:
    """The length of a text."""
    RUNS.append("measure")
    with store.build("length", inputs=(text,)) as build:
        (build.folder / "length").write_text(str(text.count("characters")))
    return build.artifact


@flow
def pipeline(work_dir: Path, text: str = "abc", settings: Settings | None = None) -> tuple[Artifact, Store]:
    """Three stages in a row."""
    store = Store(work_dir)
    doubled = double(store, snapshot(store, text, work_dir), settings or Settings())
    return measure(store, doubled), store


def cached(store: Store) -> list[str]:
    return [outcome.stage for outcome in store.outcomes if outcome.cached]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.cache.FIRST_DELAY_SECONDS", 0.01)


def test_second_run_is_cached_and_says_so(tmp_path: Path, run_log: list[str]) -> None:
    first, store = pipeline(tmp_path)
    assert RUNS == ["snapshot", "double", "measure"]
    assert cached(store) == []
    assert [line for line in run_log if line.startswith("double: built (6 characters, 6 bytes, 0.")]
    run_log.clear()
    RUNS.clear()

    second, store = pipeline(tmp_path)
    assert second == first
    assert RUNS == ["snapshot"]
    assert cached(store) == ["double", "measure"]
    assert "double: cached (6 characters)" in run_log
    assert "measure: cached" in run_log
    assert [outcome.stage for outcome in store.outcomes] == ["snapshot", "double", "measure"]


def test_a_change_reruns_what_depends_on_it(tmp_path: Path) -> None:
    pipeline(tmp_path)
    RUNS.clear()
    pipeline(tmp_path, settings=Settings(times=3))
    assert RUNS == ["snapshot", "double", "measure"]
    RUNS.clear()
    pipeline(tmp_path, text="abcabc", settings=Settings(times=1))
    assert RUNS == ["snapshot", "double"], "the same bytes came out, so nothing after it runs"
    RUNS.clear()
    pipeline(tmp_path / "other")
    assert RUNS == ["snapshot", "double", "measure"], "two work directories share nothing"


def test_moved_work_dir_hits(tmp_path: Path) -> None:
    first, _ = pipeline(tmp_path / "old")
    RUNS.clear()
    (tmp_path / "old").rename(tmp_path / "new")
    second, store = pipeline(tmp_path / "new")
    assert (second, RUNS, cached(store)) == (first, ["snapshot"], ["double", "measure"])
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize("damage", ["flip", "delete", "folder"])
def test_broken_artifact_is_rebuilt(damage: str, tmp_path: Path, run_log: list[str]) -> None:
    first, store = pipeline(tmp_path)
    doubled = next(outcome.artifact for outcome in store.outcomes if outcome.stage == "double")
    if damage == "folder":
        shutil.rmtree(store.path(doubled))
    elif damage == "delete":
        (store.path(doubled) / "text.txt").unlink()
    else:
        (store.path(doubled) / "text.txt").write_text("abcabX")
    RUNS.clear()
    second, store = pipeline(tmp_path)
    assert (second, RUNS, cached(store)) == (first, ["snapshot", "double"], ["measure"])
    assert [line for line in run_log if line.startswith("double: artifact doubled/") and "building it again" in line]
    store.verify(doubled, full=True)
    RUNS.clear()
    pipeline(tmp_path)
    assert RUNS == ["snapshot"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"metadata": {}, "result": "1"}'])
def test_damaged_record_is_a_miss(content: bytes, tmp_path: Path) -> None:
    first, store = pipeline(tmp_path)
    for record in store.results.glob("double-*"):
        record.write_bytes(content)
    RUNS.clear()
    second, _ = pipeline(tmp_path)
    assert (second, RUNS) == (first, ["snapshot", "double"])


def test_refresh_runs_again(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_TASKS_REFRESH_CACHE, temporary_settings

    pipeline(tmp_path)
    RUNS.clear()
    with temporary_settings({PREFECT_TASKS_REFRESH_CACHE: True}):
        _, store = pipeline(tmp_path)
    assert (RUNS, cached(store)) == (["snapshot", "double", "measure"], [])


def test_value_error_comes_out_as_it_is_and_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^times must be even$") as caught:
        pipeline(tmp_path, settings=Settings(fail="value"))
    assert type(caught.value) is ValueError
    assert RUNS == ["snapshot", "double"]


def test_what_may_heal_is_tried_again(tmp_path: Path) -> None:
    pipeline(tmp_path, settings=Settings(fail="once"))
    assert RUNS == ["snapshot", "double", "double", "measure"]


def test_a_missing_file_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pipeline(tmp_path, settings=Settings(fail="file"))
    assert RUNS == ["snapshot", "double"]


def test_no_key_fails_the_task(tmp_path: Path) -> None:
    @flow
    def with_path() -> None:
        store = Store(tmp_path)
        measure(store, snapshot(store, "abc"), extra=tmp_path)

    with pytest.raises(TypeError, match=r"measure: extra is a pathlib\.\w+, which has no canonical form"):
        with_path()
    assert RUNS == ["snapshot"]


@pytest.mark.parametrize("in_tuple", [False, True])
def test_a_broken_input_is_named(in_tuple: bool, tmp_path: Path) -> None:
    @flow
    def with_hole() -> None:
        store = Store(tmp_path)
        text = snapshot(store, "abc")
        (store.path(text) / "text.txt").unlink()
        measure(store, (text,) if in_tuple else text)  # type: ignore[arg-type]

    with pytest.raises(BrokenArtifact, match=r"artifact text/\w{8} is broken: text\.txt is missing"):
        with_hole()


def test_peek_tells_what_a_run_would_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    text = snapshot.fn(store, "abc")
    assert double.peek(store, text, Settings()) is None
    assert snapshot.peek(store, "abc") is None
    pipeline(tmp_path)
    doubled = double.peek(store, text, settings=Settings())
    assert doubled is not None and doubled.kind == "doubled"
    assert double.peek(store, text, Settings(times=5)) is None
    (store.path(doubled) / "text.txt").unlink()
    assert double.peek(store, text, Settings()) is None
    assert RUNS == ["snapshot", "snapshot", "double", "measure"]


def test_threads_share_a_store(tmp_path: Path) -> None:
    @flow
    def fan_out(work_dir: Path) -> list[Artifact]:
        store = Store(work_dir)
        texts = [snapshot.submit(store, text) for text in ("a", "b", "c", "a")]
        doubled = [double.submit(store, text, Settings()) for text in texts]  # type: ignore[arg-type]
        return [future.result() for future in doubled]

    first = fan_out(tmp_path)
    assert RUNS.count("double") == 3, "the same inputs are built once"
    assert first[0] == first[3]
    RUNS.clear()
    assert fan_out(tmp_path) == first
    assert "double" not in RUNS


def test_version_stands_for_the_code_on_request() -> None:
    def make(version: int, code_digest: bool, add: int) -> Stage[...]:
        if add:

            @stage(name="s", version=version, code_digest=code_digest)
            def function(store: Store) -> Artifact:
                raise NotImplementedError
        else:

            @stage(name="s", version=version, code_digest=code_digest)
            def function(store: Store) -> Artifact:
                raise ArithmeticError

        return function

    def key(version: int, code_digest: bool, add: int) -> str:
        return make(version, code_digest, add).key_of({})

    assert key(1, False, 0) == key(1, False, 1) != key(2, False, 1)
    assert key(1, True, 0) != key(1, True, 1)


@pytest.mark.parametrize("code_digest", [True, False])
def test_an_upgrade_of_a_library_changes_the_key(code_digest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    @stage(name="s", version=1, code_digest=code_digest)
    def function(store: Store) -> Artifact:
        raise NotImplementedError

    keys = set()
    for libraries in ({}, {"jax": "0.10.2"}, {"jax": "0.11.2"}):
        code = StageCode("digest", libraries)
        monkeypatch.setattr("tasks.engine.cache.stage_code", lambda *_, code=code: code)
        keys.add(function.key_of({}))
    assert len(keys) == 3


def test_run_names_are_readable(tmp_path: Path) -> None:
    names: list[str] = []

    @stage(name="name-me", version=1)
    def name_me(store: Store) -> Artifact:
        from prefect.runtime import task_run

        names.append(task_run.name)
        with store.build("named") as build:
            (build.folder / "x").write_text("x")
        return build.artifact

    flow(lambda: name_me(Store(tmp_path)), name="names")()
    key = name_me.key(Store(tmp_path))
    assert names == [f"name-me {key.removeprefix('name-me-')[:6]}"]


def test_scratch_outlives_a_failure_and_not_a_success(tmp_path: Path) -> None:
    found: list[bool] = []

    @stage(name="train", version=1, code_digest=False)
    def train(store: Store, steps: int) -> Artifact:
        checkpoint = train.scratch(store, steps) / "checkpoint"
        found.append(checkpoint.exists())
        if not checkpoint.exists():
            checkpoint.write_text("14")
            raise RuntimeError("killed")
        with store.build("adapter") as build:
            (build.folder / "adapter").write_text("x")
        return build.artifact

    run = flow(lambda: train(Store(tmp_path), 20), name="training")
    with pytest.raises(RuntimeError, match="killed"):
        run()
    run()
    run()
    assert found == [False, True]
    assert list(Store(tmp_path).scratch.iterdir()) == []


FLOW_FILE = """
    import sys, time
    from pathlib import Path
    from prefect import flow
    from tasks.engine.cache import stage
    from tasks.store.artifacts import Artifact
    from tasks.store.store import Store

    @stage(name="slow", version=1)
    def slow(store: Store) -> Artifact:
        with (store.work_dir / "runs").open("a") as file:
            file.write("run\\n")
        if (store.work_dir / "hang").exists():
            time.sleep(600)
        time.sleep(1.5)
        with store.build("slow") as build:
            (build.folder / "x").write_text("x")
        return build.artifact

    @flow
    def once(work_dir: Path) -> None:
        store = Store(work_dir)
        slow(store)
        print("cached" if store.outcomes[0].cached else "built", flush=True)

    if __name__ == "__main__":
        once(Path(sys.argv[1]))
"""


def start(tmp_path: Path, server: str) -> "subprocess.Popen[str]":
    """A process of its own that runs the flow in FLOW_FILE against the session's server."""
    script = tmp_path / "slow_flow.py"
    script.write_text(textwrap.dedent(FLOW_FILE))
    repository = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PREFECT_API_URL": server, "PYTHONPATH": str(repository)}
    work_dir = str(tmp_path / "work")
    return subprocess.Popen([sys.executable, str(script), work_dir], env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_build_once(tmp_path: Path, prefect_server: str) -> None:
    processes = [start(tmp_path, prefect_server) for _ in range(2)]
    outputs = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert outputs == ["built", "cached"]
    assert (tmp_path / "work" / "runs").read_text() == "run\n"


def test_kill_9_of_a_run_blocks_nobody(tmp_path: Path, prefect_server: str) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "hang").touch()
    process = start(tmp_path, prefect_server)
    runs = tmp_path / "work" / "runs"
    while not (runs.exists() and runs.read_text()):
        assert process.poll() is None
    process.kill()
    process.communicate()
    (tmp_path / "work" / "hang").unlink()
    assert start(tmp_path, prefect_server).communicate(timeout=120)[0].strip() == "built"


def test_outside_a_run_it_logs_as_a_library(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.INFO, logger="tasks"):
        double._body()(Store(tmp_path), snapshot.fn(Store(tmp_path), "abc"), Settings())
    assert re.search(r"double: built \(6 characters, 6 bytes, \d\.\d s\)", caplog.text)
