"""Records of runs: what each says while it runs, at its end, and after a kill; and what `jora gc` leaves of them."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from tasks.records.models import Registry
from tasks.records.records import damaged_runs, find_run, installed_packages, is_pinned, list_runs, pin, recorded
from tasks.records.runs import is_published, publish_latest, read_latest
from tasks.store.artifacts import Artifact, Outcome
from tasks.store.links import point
from tasks.store.retries import DiskFull
from tasks.store.store import Store
from tasks.workdir.gc import find_waste, remove
from testing.registered import file_artifact, model

SETTINGS = {"corpus": "documents"}


def run(store: Store, subject: str, **artifacts: Artifact) -> str:
    """A run that gave these artifacts; its name."""
    with recorded(store, "raft-finetune", "everything", subject, SETTINGS) as recording:
        for name, artifact in artifacts.items():
            store.note(Outcome(f"make-{name}", artifact, cached=False, seconds=1.5, peak_bytes=7))
        recording.end("completed", artifacts, "well done")
    return recording.record.name


def age(store: Store, days: float) -> None:
    """Let everything there be so many days older: runs by their records, and all files by their times."""
    then = time.time() - days * 86400
    for path in store.work_dir.glob("runs/*/run.json"):
        record = json.loads(path.read_text())
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(then))
        path.write_text(json.dumps(record | {"started": stamp}))
    for path in [*store.work_dir.rglob("*")]:
        os.utime(path, (then, then), follow_symlinks=False)


def test_a_record_says_what_became_of_a_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dataset = file_artifact(store, "dataset", text="a")
    name = run(store, "corpus/of mine tiny", dataset=dataset)
    assert name.endswith("-corpus-of-mine-tiny")
    (record,) = list_runs(tmp_path)
    assert (record.state, record.note, record.artifacts) == ("completed", "well done", {"dataset": dataset})
    assert [(stage.stage, stage.seconds, stage.peak_bytes) for stage in record.stages] == [("make-dataset", 1.5, 7)]
    assert record.seconds is not None

    with pytest.raises(ValueError, match="no such file"), recorded(store, "f", "dataset", "x", SETTINGS):
        raise ValueError("no such file\nin the second line")
    with pytest.raises(KeyboardInterrupt), recorded(store, "f", "dataset", "x", SETTINGS):
        raise KeyboardInterrupt
    states = {record.name: (record.state, record.error) for record in list_runs(tmp_path)}
    assert list(states.values())[1:] == [
        ("failed", "no such file in the second line"),
        ("cancelled", "KeyboardInterrupt"),
    ]
    assert len(states) == 3, "two runs of one second have names of their own"


def test_a_killed_run_reads_as_crashed_and_a_living_one_as_running(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from tasks.records.records import recorded
        from tasks.store.store import Store
        with recorded(Store(sys.argv[1]), "f", "adapter", "killed", {}):
            print("here", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert [record.state for record in list_runs(tmp_path)] == ["running"]
        with pytest.raises(ValueError, match="killed is using"):
            remove(Store(tmp_path), 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [record.state for record in list_runs(tmp_path)] == ["crashed"]
    remove(Store(tmp_path), 0)


def test_a_run_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run in"):
        find_run(tmp_path, "latest")
    store = Store(tmp_path)
    first, second = run(store, "alpha"), run(store, "beta")
    assert find_run(tmp_path, first).name == first
    assert find_run(tmp_path, "latest").name in (first, second)
    with pytest.raises(ValueError, match="2 runs begin with"):
        find_run(tmp_path, first[:8])
    with pytest.raises(ValueError, match=f"the nearest is {second}"):
        find_run(tmp_path, second.replace("beta", "bets"))


@pytest.mark.parametrize("who", ["SELF", "CHILDREN"])
def test_peak_memory_is_that_of_the_block(who: str) -> None:
    """In a small process, whose own memory hides neither the child's nor the block's."""
    grow = "b = bytearray(300_000_000)"
    body = grow if who == "SELF" else f"subprocess.run([sys.executable, '-c', '{grow}; import time; time.sleep(1.2)'])"
    code = f"""
import subprocess, sys
from tasks.engine.memory import peak_memory
with peak_memory() as peak:
    {body}
print(peak.bytes)
"""
    # Not compared with getrusage: a process inherits the maximum of the one that started it, here pytest's.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 300_000_000 < int(done.stdout) < 400_000_000


def test_gc_keeps_what_is_named_and_removes_the_rest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = {name: file_artifact(store, "dataset", text=name) for name in ("old", "pinned", "latest", "recent", "lost")}
    champion, other = model(store, "champion", [1.0]), model(store, "other", [0.0])
    Registry(tmp_path).appoint(store, champion.name, "by hand")
    old, pinned = run(store, "old", dataset=made["old"]), run(store, "pinned", dataset=made["pinned"])
    run(store, "latest", dataset=made["latest"])
    publish_latest(store, {"dataset": made["latest"]}, SETTINGS)
    pin(tmp_path, pinned, True)
    for name in ("old", "latest"):
        (store.results / f"key-{name}").write_text(json.dumps({"result": made[name].model_dump(mode="json")}))
    (store.scratch / "stage").mkdir()
    age(store, 40)
    run(store, "recent", dataset=made["recent"])

    waste = find_waste(store, 30)
    assert store.path(made["old"]).exists(), "dry by default"
    gone = {path for _, path, _ in waste.paths}
    assert gone == {
        *(store.path(made[name]) for name in ("old", "lost")),
        *(store.path(other.artifacts[name]) for name in ("adapter", "export")),
        store.results / "key-old",
        store.scratch / "stage",
        tmp_path / "runs" / old,
        tmp_path / "runs" / next(run.name for run in list_runs(tmp_path) if run.name.endswith("-latest")),
    }
    assert waste.by_kind["dataset"][0] == 2
    assert remove(store, 30).bytes == waste.bytes
    assert not any(path.exists() for path in gone)
    for name in ("pinned", "latest", "recent"):
        store.verify(made[name])
    store.verify(champion.artifacts["adapter"])
    assert find_waste(store, 30).paths == ()

    pin(tmp_path, pinned, False)
    assert not is_pinned(tmp_path, pinned)
    assert {path for _, path, _ in find_waste(store, 30).paths} == {
        store.path(made["pinned"]),
        tmp_path / "runs" / pinned,
    }


def test_gc_keeps_what_a_failed_run_built_for_the_one_that_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = file_artifact(store, "dataset", text="a")
    with pytest.raises(ValueError, match="too long"), recorded(store, "f", "adapter", "x", SETTINGS):
        store.note(Outcome("make-dataset", made, cached=False, seconds=1.0))
        raise ValueError("too long")
    checkpoint = store.scratch / "train-key" / "checkpoints" / "7"
    checkpoint.mkdir(parents=True)
    age(store, 40)
    (checkpoint / "state").write_text("saved yesterday")
    assert find_waste(store, 30).paths == ()
    age(store, 40)
    assert [kind for kind, *_ in find_waste(store, 30).paths] == ["unfinished stages"]


def test_gc_refuses_where_a_record_cannot_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = file_artifact(store, "dataset", text="a")
    name = run(store, "one", dataset=made)
    publish_latest(store, {"dataset": made}, SETTINGS)
    record = tmp_path / "runs" / name / "run.json"
    whole = record.read_text()
    record.write_text(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"run\.json cannot be read, so the artifacts of that run are unknown; "):
        find_waste(store, 0)
    record.write_text(whole)
    (tmp_path / "latest" / "run.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        find_waste(store, 0)


def test_a_full_disk_at_the_start_is_one_line_and_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def full(path: Path, text: str, durable: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tasks.records.records.write_whole", full)
        with pytest.raises(DiskFull, match="the record of this run: no space is left"):
            run(store, "one")
    assert store.listeners == []
    remove(store, 0)  # nobody is at work
    run(store, "two")


def test_latest_is_published_when_every_link_shows_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = {name: file_artifact(store, name, text=name) for name in ("dataset", "package")}
    publish_latest(store, made, SETTINGS)
    assert is_published(store, made)
    other = file_artifact(store, "package", text="other")
    point(tmp_path / "latest" / "package", store.path(other))
    assert not is_published(store, made)
    (tmp_path / "latest" / "package").unlink()
    assert not is_published(store, made)
    assert is_published(store, {"dataset": made["dataset"]})
    point(tmp_path / "latest" / "package", store.path(other))
    assert not is_published(store, {"dataset": made["dataset"]}), "a link that another run left"


def test_installed_packages_without_a_name_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_removed = tmp_path / "site" / "~umpy-1.0.dist-info"
    half_removed.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(half_removed.parent))
    found = installed_packages()
    assert found["numpy"] == metadata.version("numpy") and "" not in found


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    with recorded(Store(tmp_path), "flow", "model", "x", {}) as recording:
        recording.end("completed", {})
    path = recording.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sbom": "sbom/1.json"}))
    assert [record.state for record in list_runs(tmp_path)] == ["completed"]


@pytest.mark.parametrize("name", ["../../thesis", "/etc", "other", "."])
def test_a_record_that_names_another_folder_removes_nothing(tmp_path: Path, name: str) -> None:
    """`jora gc` removes the folder of an old run: that of the record, wherever the record says that it lies."""
    store = Store(tmp_path / "deep" / "work")
    thesis = tmp_path / "deep" / "thesis"
    thesis.mkdir()
    path = store.work_dir / "runs" / run(store, "one") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": name}))
    run(store, "two")
    age(store, 40)
    with pytest.raises(ValueError, match=r"run\.json cannot be read"):
        remove(store, 30)
    assert thesis.exists() and [record.name[-3:] for record in list_runs(store.work_dir)] == ["two"]


@pytest.mark.parametrize("digest", ["../../../thesis", "short"])
def test_a_record_whose_artifact_lies_elsewhere_is_damaged(tmp_path: Path, digest: str) -> None:
    store = Store(tmp_path)
    made = file_artifact(store, "dataset", text="a")
    name = run(store, "one", dataset=made)
    publish_latest(store, {"dataset": made}, SETTINGS)
    for path in (tmp_path / "latest" / "run.json", tmp_path / "runs" / name / "run.json"):
        path.write_text(path.read_text().replace(made.digest, digest))
    with pytest.raises(ValueError, match=r"latest/run.json is damaged \(ValidationError\); run the flow again"):
        read_latest(tmp_path)
    assert list_runs(tmp_path) == [] and len(damaged_runs(tmp_path)) == 1


def test_gc_follows_no_link(tmp_path: Path) -> None:
    store = Store(tmp_path / "work")
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "manifest.json").write_text("my own")
    os.utime(thesis / "manifest.json", (1, 1))
    (store.artifacts / "dataset").mkdir()
    (store.artifacts / "dataset" / ("ab" * 16)).symlink_to(thesis)
    (store.work_dir / "sweeps").mkdir()
    (store.work_dir / "sweeps" / "rank").symlink_to(thesis)
    (store.scratch / "mine").symlink_to(thesis)
    age(store, 40)
    assert len(remove(store, 30).paths) == 2
    assert (thesis / "manifest.json").read_text() == "my own" and not list(store.scratch.iterdir())
