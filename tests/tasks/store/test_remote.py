"""Shared storage: what one machine built another one finds, over a real S3 protocol and over a folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from prefect import flow

from flows.settings.config import RunConfig, check_config
from tasks.engine.cache import stage
from tasks.store.artifacts import Artifact, Manifest
from tasks.store.remote import Remote
from tasks.store.store import Store

pytestmark = pytest.mark.usefixtures("prefect_server")
BUILT: list[str] = []


@stage(name="words", version=1)
def words(store: Store, text: str) -> Artifact:
    BUILT.append("words")
    with store.build("words") as build:
        (build.folder / "deep").mkdir()
        (build.folder / "deep" / "text.txt").write_text(text)
        build.count(characters=len(text))
    return build.artifact


@stage(name="length", version=1)
def length(store: Store, text: Artifact) -> Artifact:
    BUILT.append("length")
    with store.build("length", inputs=(text,)) as build:
        (build.folder / "length").write_text(str(text.count("characters")))
    return build.artifact


@flow
def both(work_dir: Path, url: str) -> tuple[Artifact, Artifact]:
    store = RunConfig(work_dir=str(work_dir), storage=url).store()
    made = words(store, "abc")
    return made, length(store, made)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket on a server of the S3 protocol on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        boto3.client("s3").create_bucket(Bucket="jora")
        yield "s3://jora"
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.stop()


@pytest.fixture(params=["s3", "folder"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "mounted")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    BUILT.clear()
    monkeypatch.setattr("tasks.store.remote.FIRST_PAUSE_SECONDS", 0.01)


def test_another_machine_finds_everything_at_the_storage(tmp_path: Path, url: str, run_log: list[str]) -> None:
    first = both(tmp_path / "a", url)
    assert BUILT == ["words", "length"]
    assert both(tmp_path / "b", url) == first
    assert BUILT == ["words", "length"], "nothing was built"
    assert "words: cached (3 characters)" in run_log
    for artifact in first:
        Store(tmp_path / "b").verify(artifact, full=True)
    both(tmp_path / "b", url)
    assert BUILT == ["words", "length"]


def test_what_is_damaged_or_half_there_is_built_again(tmp_path: Path, url: str) -> None:
    made, size = both(tmp_path / "a", url)
    remote = Remote(url)
    place = f"{remote.root}/artifacts/{made.kind}/{made.digest}"
    remote.files.pipe_file(f"{place}/deep/text.txt", b"abd")
    BUILT.clear()
    assert both(tmp_path / "b", url) == (made, size)
    assert BUILT == ["words"]
    assert remote.files.cat_file(f"{place}/deep/text.txt") == b"abc", "put there anew"
    remote.files.rm_file(f"{place}/manifest.json")
    BUILT.clear()
    assert both(tmp_path / "c", url) == (made, size)
    assert BUILT == ["words"], "no manifest, no artifact"
    manifest = remote.files.cat_file(f"{place}/manifest.json")
    remote.files.pipe_file(f"{place}/manifest.json", manifest[:-40])
    assert both(tmp_path / "d", url) == (made, size)
    assert Manifest.model_validate_json(remote.files.cat_file(f"{place}/manifest.json")).digest == made.digest
    remote.files.rm_file(f"{place}/deep/text.txt")
    assert both(tmp_path / "e", url) == (made, size)
    assert remote.files.cat_file(f"{place}/deep/text.txt") == b"abc", "and so is a file that is missing"
    assert not [name for name in remote.files.find(remote.root) if name.count(".") > 1], "nothing half written is left"


def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="storage contains a password") as refused:
        check_config({"storage": "sftp://me:s3cret@host/folder"})
    assert "s3cret" not in str(refused.value)


def test_a_damaged_work_directory_is_mended_from_the_storage(tmp_path: Path, url: str) -> None:
    made, _ = both(tmp_path / "a", url)
    (Store(tmp_path / "a").path(made) / "deep" / "text.txt").write_text("ab")
    BUILT.clear()
    both(tmp_path / "a", url)
    assert BUILT == []
    Store(tmp_path / "a").verify(made, full=True)


def test_a_manifest_cannot_write_elsewhere(tmp_path: Path) -> None:
    url = str(tmp_path / "mounted")
    made, _ = both(tmp_path / "a", url)
    path = tmp_path / "mounted" / "artifacts" / made.kind / made.digest / "manifest.json"
    manifest = Manifest.model_validate_json(path.read_bytes())
    (record,) = manifest.files.values()
    path.write_text(manifest.model_copy(update={"files": {"../../../evil.txt": record}}).model_dump_json())
    BUILT.clear()
    both(tmp_path / "b", url)
    assert BUILT == ["words"]
    assert not list(tmp_path.rglob("evil.txt"))


def test_storage_that_goes_away_is_said_and_done_without(tmp_path: Path, run_log: list[str]) -> None:
    url = str(tmp_path / "mounted")
    store = RunConfig(work_dir=str(tmp_path / "a"), storage=url).store()
    assert store.remote is not None
    store.remote.root = "/proc/nowhere"
    made = flow(lambda: words(store, "abc"), name="alone")()
    store.verify(made)
    assert BUILT == ["words"]


@pytest.mark.parametrize(
    ("url", "says"),
    [("nothing://x", "storage=nothing://x: "), ("/proc/none", "storage=/proc/none does not respond")],
)
def test_bad_storage_is_one_line(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Remote(url)


def test_a_missing_package_is_told_with_its_command() -> None:
    code = "import sys; sys.modules['s3fs'] = None\nfrom tasks.store.remote import Remote\nRemote('s3://jora')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install -c constraints.txt -e '.[s3]'" in done.stderr
