"""What another machine, or whoever writes to the shared storage, may put there: no path leaves, no code is chosen."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.settings.config import RunConfig
from tasks.engine.cache import stage
from tasks.engine.stage_records import artifact_of_record, read_record
from tasks.store.artifacts import Artifact
from tasks.store.remote import Remote
from tasks.store.store import Store

pytestmark = pytest.mark.usefixtures("prefect_server")
BUILT: list[str] = []


@stage(name="forged", version=1)
def words(store: Store, text: str) -> Artifact:
    BUILT.append("words")
    with store.build("words") as build:
        (build.folder / "text.txt").write_text(text)
        build.count(characters=len(text))
    return build.artifact


@flow
def build_words(work_dir: Path, url: str | None) -> Artifact:
    return words(RunConfig(work_dir=str(work_dir), storage=url).store(), "abc")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    BUILT.clear()
    monkeypatch.setattr("tasks.store.remote.FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A mounted folder to which one machine has uploaded its words."""
    build_words(tmp_path / "a", str(tmp_path / "mounted"))
    BUILT.clear()
    return tmp_path / "mounted"


def record_of(storage: Path) -> Path:
    (record,) = (storage / "results").iterdir()
    return record


def forge(record: Path, **changes: Any) -> None:
    """Change the result in a record."""
    content = json.loads(record.read_bytes())
    result = json.loads(content["result"])
    result["data"] |= changes
    record.write_text(json.dumps(content | {"result": json.dumps(result)}))


def upload(storage: Path, artifact: Artifact, content: bytes, claimed: str) -> None:
    """Put an artifact of other content there, under a claimed digest."""
    folder = storage / "artifacts" / artifact.kind / claimed
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_bytes(content)
    file = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "mtime_ns": 5}
    manifest = {
        "kind": artifact.kind,
        "digest": claimed,
        "settings": {},
        "inputs": [],
        "counts": dict(artifact.counts),
        "files": {"text.txt": file},
        "versions": {},
        "created": "",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("digest", ["../../../thesis", "{machine}/thesis", "../../../thesis/../thesis"])
def test_a_record_whose_artifact_lies_elsewhere_replaces_nothing(tmp_path: Path, shared: Path, digest: str) -> None:
    """The folder would be replaced as a damaged artifact is."""
    thesis = tmp_path / "machine" / "thesis"
    thesis.mkdir(parents=True)
    (thesis / "chapter").write_text("years of work")
    made = read_record(record_of(shared))
    assert made is not None
    digest = digest.format(machine=tmp_path / "machine")
    if not digest.startswith("/"):
        upload(shared, made, b"abc", claimed=digest)
    forge(record_of(shared), digest=digest)
    build_words(tmp_path / "machine" / "b", str(shared))
    assert BUILT == ["words"]
    assert {path.name: path.read_text() for path in thesis.iterdir()} == {"chapter": "years of work"}
    assert read_record(record_of(shared)) == made, "the true record is uploaded again"


def test_files_of_another_digest_are_not_published(tmp_path: Path, shared: Path, caplog: Any) -> None:
    """Each file is what its manifest says, and the manifest says that it is the artifact that was asked for."""
    made = read_record(record_of(shared))
    assert made is not None
    upload(shared, made, b"abX", claimed=made.digest)
    store = Store(tmp_path / "b")
    assert not Remote(str(shared)).fetch(store, record_of(shared).name, artifact_of_record)
    assert not store.path(made).exists() and not list(store.tmp.iterdir())
    assert "its manifest describes another artifact" in caplog.text
    assert not (shared / "artifacts" / made.kind / made.digest / "manifest.json").exists(), "so that it is mended"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda file: file.update(link="/etc/passwd"), "text.txt is a link to a file of another machine"),
        (lambda file: file.update(bytes=4), "is not what was asked for"),
        (lambda file: file.update(sha256="0" * 64), "its manifest describes another artifact"),
        (lambda file: file.update(sha256="../../x"), "its manifest cannot be read"),
    ],
)
def test_a_forged_manifest_publishes_nothing(
    tmp_path: Path, shared: Path, caplog: Any, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    made = read_record(record_of(shared))
    assert made is not None
    path = shared / "artifacts" / made.kind / made.digest / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest["files"]["text.txt"])
    path.write_text(json.dumps(manifest))
    store = Store(tmp_path / "b")
    assert not Remote(str(shared)).fetch(store, record_of(shared).name, artifact_of_record)
    assert not list(store.artifacts.iterdir()) and not list(store.results.iterdir())
    assert why in caplog.text or why.startswith("is not")


@pytest.mark.parametrize("name", ["../../../../evil.txt", "/{outside}/evil.txt", "a/../../../../evil.txt"])
def test_a_file_name_of_a_manifest_writes_nowhere_else(tmp_path: Path, shared: Path, name: str) -> None:
    made = read_record(record_of(shared))
    assert made is not None
    name = name.format(outside=tmp_path)
    path = shared / "artifacts" / made.kind / made.digest / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"] = {name: manifest["files"]["text.txt"]}
    path.write_text(json.dumps(manifest))
    build_words(tmp_path / "b", str(shared))
    assert BUILT == ["words"] and not list(tmp_path.rglob("evil.txt"))


def serializer(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["metadata"]["serializer"].update(changes)


def result(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        record["result"] = json.dumps(json.loads(record["result"]) | changes)

    return change


FORGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "a decoder": serializer(object_decoder="forged_decoder.called"),
    "a library": serializer(jsonlib="forged_decoder"),
    "an encoder": serializer(object_encoder="forged_decoder.called"),
    "options": serializer(loads_kwargs={"parse_int": "forged_decoder.called"}),
    "a pickle": serializer(type="pickle", picklelib="forged_decoder"),
    "compression": serializer(type="compressed", compressionlib="forged_decoder", serializer={"type": "json"}),
    "a class": result(__class__="forged_decoder.Called"),
    "a key more in the result": result(more={"__class__": "forged_decoder.Called", "data": {}}),
    "the old form": lambda record: record.update(
        serializer={"type": "json", "object_decoder": "forged_decoder.called"}
    ),
    "the old result": lambda record: record.update(data="forged"),
    "an end": lambda record: record["metadata"].update(expiration="2001-01-01T00:00:00Z"),
    "metadata more": lambda record: record["metadata"].update(more="forged"),
}


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that leaves a file when it is imported; returns the file."""
    mark = tmp_path / "imported"
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "forged_decoder.py").write_text(
        f"import json\nfrom json import *\nfrom pathlib import Path\nPath({str(mark)!r}).touch()\n"
        "def called(value):\n    return value\nclass Called:\n    pass\n"
        "def compress(value): return value\ndecompress = compress\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    yield mark
    sys.modules.pop("forged_decoder", None)


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.parametrize("where", ["storage", "work directory"])
def test_a_record_imports_and_calls_nothing(tmp_path: Path, shared: Path, decoder: Path, what: str, where: str) -> None:
    path = record_of(shared) if where == "storage" else next((tmp_path / "a" / "results").iterdir())
    content = json.loads(path.read_bytes())
    FORGED[what](content)
    path.write_text(json.dumps(content))
    assert read_record(path) is None
    made = build_words(tmp_path / ("b" if where == "storage" else "a"), str(shared) if where == "storage" else None)
    assert not decoder.exists() and BUILT == ["words"] and made.count("characters") == 3


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"null",
        b"[]",
        b'{"metadata": 1, "result": "{}"}',
        b'{"metadata": {}, "result": 5}',
        b'{"metadata": {}, "result": "null"}',
        b"\xff\xfe{}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_record(forged: bytes) -> None:
    assert artifact_of_record(forged) is None


def test_a_key_that_stands_twice_is_no_record(shared: Path) -> None:
    """Parsers differ in which of the two they take."""
    content = record_of(shared).read_bytes()
    assert artifact_of_record(content) is not None
    twice = content.replace(b'"type":"json"', b'"type":"pickle","type":"json"')
    assert json.loads(twice) == json.loads(content) and artifact_of_record(twice) is None
