"""Artifacts: the same bytes are the same artifact, and any damage is named."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from tasks.store.artifacts import Artifact, BrokenArtifact, FileRecord, Manifest
from tasks.store.digests import file_digest
from tasks.store.store import Store


class Settings(BaseModel):
    """A stage's settings."""

    size: int = 3


def write(store: Store, text: str = "one\n", kind: str = "chunks", **counts: int) -> Artifact:
    """An artifact of two files."""
    with store.build(kind, settings=Settings()) as build:
        (build.folder / "a.jsonl").write_text(text)
        (build.folder / "sub").mkdir()
        (build.folder / "sub" / "b.bin").write_bytes(bytes(100))
        build.count(**counts)
    return build.artifact


def test_publish_and_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "work")
    first = write(store, chunks=2, documents=1)
    with store.build("index", settings={"index": Settings(size=5), "note": "x"}, inputs=(first,)) as build:
        (build.folder / "index.bin").write_bytes(b"123")
    second = build.artifact

    assert (first.kind, first.bytes, first.count("chunks")) == ("chunks", 104, 2)
    assert (store.path(first) / "a.jsonl").read_text() == "one\n"
    manifest = store.manifest(second)
    assert manifest.settings == {"index": {"size": 5}, "note": "x"}
    assert manifest.inputs == (first,)
    assert manifest.artifact == second
    assert set(manifest.files) == {"index.bin"}
    assert {"python", "numpy", "prefect"} <= set(manifest.versions)
    for artifact in (first, second):
        store.verify(artifact)
        store.verify(artifact, full=True)
    assert list(store.tmp.iterdir()) == []


def test_same_bytes_are_the_same_artifact(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    first = write(here, chunks=2)
    inode = (here.path(first) / "a.jsonl").stat().st_ino
    assert write(there, chunks=2) == first
    assert write(here, chunks=2) == first
    assert (here.path(first) / "a.jsonl").stat().st_ino == inode, "the artifact that was there is kept"
    assert write(here, "two\n").digest != first.digest
    assert write(here, kind="other").digest != first.digest


def test_artifact_is_hashable_and_serialises() -> None:
    artifact = Artifact(kind="chunks", digest="ab" * 16, bytes=5, counts={"chunks": 3})
    assert Artifact.model_validate_json(artifact.model_dump_json()) == artifact
    assert len({artifact, artifact.model_copy()}) == 1


def test_a_failed_build_publishes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="half way"), store.build("chunks") as build:
        (build.folder / "a").write_text("x")
        raise RuntimeError("half way")
    assert list(store.artifacts.rglob("*")) == []
    assert list(store.tmp.iterdir()) == []


def truncate(folder: Path) -> None:
    (folder / "a.jsonl").write_text("on")


def flip(folder: Path) -> None:
    (folder / "a.jsonl").write_text("onE\n")


def delete(folder: Path) -> None:
    (folder / "sub" / "b.bin").unlink()


def add(folder: Path) -> None:
    (folder / "c.txt").write_text("stray")


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:-40])


def other_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(re.sub(r'("sha256": ")[0-9a-f]{8}', r"\g<1>00000000", path.read_text(), count=1))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "a.jsonl has 2 bytes instead of 4"),
        (flip, "a.jsonl has other content"),
        (delete, "sub/b.bin is missing"),
        (add, "c.txt does not belong"),
        (remove_manifest, "manifest.json is missing"),
        (cut_manifest, "manifest.json cannot be read"),
        (other_manifest, "manifest.json describes another artifact"),
        (shutil.rmtree, "is missing"),
    ],
)
def test_damage_is_found_and_healed(damage, says: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = Store(tmp_path)
    artifact = write(store)
    damage(store.path(artifact))
    with pytest.raises(BrokenArtifact, match=says) as caught:
        store.verify(artifact)
    assert "\n" not in str(caught.value)
    assert "run the flow again" in str(caught.value)
    assert write(store) == artifact
    store.verify(artifact, full=True)
    assert list(store.tmp.iterdir()) == []


def test_a_flip_with_the_time_put_back_needs_the_full_check(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = write(store)
    path = store.path(artifact) / "a.jsonl"
    time = path.stat().st_mtime_ns
    flip(path.parent)
    os.utime(path, ns=(time, time))
    store.verify(artifact)
    with pytest.raises(BrokenArtifact, match="other content"):
        store.verify(artifact, full=True)


def test_a_copy_with_other_times_is_sound(tmp_path: Path) -> None:
    store = Store(tmp_path / "one")
    artifact = write(store)
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copyfile)
    Store(tmp_path / "two").verify(artifact)


def test_links_are_hashed_by_content_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks.store.digests

    big = tmp_path / "model.safetensors"
    big.write_bytes(bytes(5000))
    reads: list[Path] = []
    whole = tasks.store.digests._sha256
    monkeypatch.setattr(tasks.store.digests, "_sha256", lambda path: (reads.append(path), whole(path))[1])

    def link(store: Store) -> Artifact:
        with store.build("base-model") as build:
            build.link("model.safetensors", big)
        return build.artifact

    store = Store(tmp_path / "work")
    artifact = link(store)
    assert link(store) == artifact
    store.verify(artifact, full=True)
    assert artifact.bytes == 5000
    assert reads == [big]
    assert (store.path(artifact) / "model.safetensors").is_symlink()

    os.utime(big)
    store.verify(artifact)
    assert reads == [big, big], "another time: read again, and the same content is fine"
    big.write_bytes(bytes(4999) + b"1")
    with pytest.raises(BrokenArtifact, match="other content"):
        store.verify(artifact)
    big.unlink()
    with pytest.raises(BrokenArtifact, match=r"model.safetensors: No such file"):
        store.verify(artifact)


def test_work_dir_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "work", Path("/proc/work")):
        with pytest.raises(ValueError, match=f"^cannot write to {folder}: .*; choose another with --work-dir$"):
            Store(folder)


def test_threads_that_build_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path)
    together = threading.Barrier(6, timeout=30)
    results: list[Artifact] = []

    def build(number: int) -> None:
        together.wait()
        with store.build("chunks") as build:
            (build.folder / "a").write_text(f"round {number}")
            together.wait()
        results.append(build.artifact)

    for number in range(10):
        threads = [threading.Thread(target=build, args=(number,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(results), len(set(results))) == (60, 10)
    for artifact in results:
        store.verify(artifact, full=True)
    assert list(store.tmp.iterdir()) == []


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom tasks.store.store import Store\n"
        "with Store(sys.argv[1]).build('chunks') as build:\n"
        "    (build.folder / 'half').write_text('x')\n"
        "    build.folder.with_suffix('.json').touch()\n"
        "    print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    store = Store(tmp_path)
    write(store)
    (half,) = store.tmp.glob("*/half")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert half.exists()
    write(store)
    assert list(store.tmp.iterdir()) == []


OUTSIDE = ("../../../thesis", "/etc", "", ".", "ab", "AB" * 16, "ab" * 16 + "\n", "ab" * 15 + "/.", "ab" * 17)


@pytest.mark.parametrize("digest", OUTSIDE)
def test_a_digest_is_32_hex_digits_wherever_it_comes_from(digest: str) -> None:
    empty = {key: {} for key in ("settings", "counts", "files", "versions")}
    manifest = empty | {"kind": "chunks", "inputs": [], "created": ""}
    Manifest.model_validate(manifest | {"digest": "ab" * 16})
    for made in (
        lambda: Artifact(kind="chunks", digest=digest, bytes=1),
        lambda: Artifact.model_validate_json(json.dumps({"kind": "chunks", "digest": digest, "bytes": 1})),
        lambda: Manifest.model_validate(manifest | {"digest": digest}),
        lambda: FileRecord(sha256=digest, bytes=1, mtime_ns=1),
    ):
        with pytest.raises(ValidationError, match="should match pattern"):
            made()


@pytest.mark.parametrize("kind", ["..", "../chunks", "a/b", "/chunks", "", "Chunks", ".", "a-", "a" * 65])
def test_a_kind_is_the_name_of_a_folder(kind: str) -> None:
    with pytest.raises(ValidationError, match="kind"):
        Artifact(kind=kind, digest="ab" * 16, bytes=1)


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "", ".", "..", "./a", "a//b", "a/", "a\0b", "manifest.json"]
)
def test_a_file_of_a_manifest_is_inside_of_its_folder(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = write(store)
    manifest = store.manifest(artifact)
    files = {**manifest.files, name: next(iter(manifest.files.values()))}
    text = json.dumps(manifest.model_dump(mode="json") | {"files": {n: r.model_dump() for n, r in files.items()}})
    (store.path(artifact) / "manifest.json").write_text(text)
    with pytest.raises(BrokenArtifact, match=r"manifest.json cannot be read"):
        store.manifest(artifact)


def test_a_digest_that_is_read_is_marked_as_used(tmp_path: Path) -> None:
    big = tmp_path / "model"
    big.write_bytes(bytes(10))
    file_digest(big, tmp_path / "digests")
    (note,) = (tmp_path / "digests").iterdir()
    os.utime(note, (1, 1))
    file_digest(big, tmp_path / "digests")
    assert note.stat().st_mtime > 1
