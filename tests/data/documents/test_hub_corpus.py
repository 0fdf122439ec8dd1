"""A corpus that is a data set of the Hub: which one is asked for, what becomes of its paths, and of errors."""

import json
from pathlib import Path
from typing import Any

import datasets
import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from data.documents.corpus import read_corpus
from data.documents.documents import DocumentSettings
from tasks.store.retries import kind_of
from user_error import UserError

SETTINGS = DocumentSettings()
ROWS = datasets.Dataset.from_dict({"text": ["The mill rests in March.", "The ferry leaves at noon."]})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str | None]]:
    """What `load_dataset` was called with; it has one data set."""
    monkeypatch.chdir(tmp_path)
    calls: list[tuple[str, str | None]] = []

    def load_dataset(name: str, *, revision: str | None = None) -> Any:
        calls.append((name, revision))
        return datasets.DatasetDict({"train": ROWS})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


@pytest.mark.parametrize(
    "revision", ["", "@main", "@v1.0", "@0123456789abcdef0123456789abcdef01234567", "@refs/convert/parquet"]
)
def test_the_revision_arrives_and_is_no_part_of_the_paths(asked: list[tuple[str, str | None]], revision: str) -> None:
    """A document keeps its side of the split by its path, whatever commit it came with."""
    corpus = read_corpus(f"owner/hand-book{revision}", SETTINGS)
    assert asked == [("owner/hand-book", revision[1:] or None)]
    assert [document.path for document in corpus.documents] == ["hand-book#1", "hand-book#2"]


@pytest.mark.parametrize("name", ["owner/hand-book@", "owner/hand-book@a b", "a/b/c@main"])
def test_what_is_no_id_asks_nobody(asked: list[tuple[str, str | None]], name: str) -> None:
    with pytest.raises(UserError, match="no documents at"):
        read_corpus(name, SETTINGS)
    assert asked == []


def test_a_folder_with_an_at_sign_is_a_folder(asked: list[tuple[str, str | None]]) -> None:
    folder = Path("owner/book@home")
    folder.mkdir(parents=True)
    (folder / "a.md").write_text("A document of some words.")
    assert [document.path for document in read_corpus(folder, SETTINGS).documents] == ["a.md"]
    with pytest.raises(UserError, match="no documents at owner/misspelt"):
        read_corpus("owner/misspelt", SETTINGS)
    assert asked == []


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Exception:
    def load_dataset(name: str, *, revision: str | None = None) -> Any:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(Exception) as caught:
        read_corpus("nobody/nothing@v1", SETTINGS)
    return caught.value


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api"))


def test_a_network_error_is_tried_again_and_what_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = failing(monkeypatch, HfHubHTTPError("busy", response=response(503)))
    assert kind_of(busy) == "network" and "the data set nobody/nothing@v1 cannot be fetched (busy)" in str(busy)
    assert kind_of(failing(monkeypatch, ConnectionError("Couldn't reach it"))) == "network"
    gone = datasets.exceptions.DatasetNotFoundError("doesn't exist")
    gone.__cause__ = RepositoryNotFoundError("gone", response=response(404))
    refused = failing(monkeypatch, gone)
    assert isinstance(refused, UserError) and kind_of(refused) is None
    assert str(refused) == (
        "there is no data set nobody/nothing@v1 on huggingface.co: give a folder or a file that exists"
    )
    script = failing(monkeypatch, RuntimeError("Dataset scripts are no longer supported, but found nothing.py"))
    assert isinstance(script, UserError) and "Dataset scripts are no longer supported" in str(script)
    full = OSError(28, "No space left on device")
    assert failing(monkeypatch, full) is full


def test_the_network_that_is_switched_off_for_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real library: its own error for a Hub that it may not ask."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="the data set nobody/nothing cannot be fetched") as caught:
        read_corpus("nobody/nothing", SETTINGS)
    assert kind_of(caught.value) == "network" and "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["dataset_dict.json", "train/state.json"])
@pytest.mark.parametrize("name", ["../outside", "/etc", "deep/er"])
def test_files_of_a_saved_data_set_are_inside_of_its_folder(tmp_path: Path, file: str, name: str) -> None:
    datasets.DatasetDict({"train": ROWS}).save_to_disk(tmp_path / "saved")
    assert len(read_corpus(tmp_path / "saved", SETTINGS).documents) == 2
    path = tmp_path / "saved" / file
    content = json.loads(path.read_text())
    content |= {"splits": [name]} if "splits" in content else {"_data_files": [{"filename": f"{name}.arrow"}]}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"which is no name inside of its folder: save it again"):
        read_corpus(tmp_path / "saved", SETTINGS)
