"""Assets in Prefect: each work directory has its own, under the same keys in every run."""

import threading
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.engine.assets import ASSETS, _key, asset_of
from tasks.store.store import Store


@pytest.fixture(autouse=True)
def _with_a_server():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        yield


def keys(folder: Path) -> list[str]:
    """All keys of a work directory, those of inputs included."""
    found = set()
    for stage in ASSETS:
        made = asset_of(Store(folder), stage)
        assert made is not None
        found |= {made[0].key, *map(str, made[1])}
    return sorted(found)


def test_work_directories_of_one_name_have_assets_of_their_own(tmp_path: Path) -> None:
    here, there = keys(tmp_path / "here" / ".jora"), keys(tmp_path / "there" / ".jora")
    assert not set(here) & set(there) and len(here) == len(there) == 8
    assert all(key.startswith("jora://jora-") for key in here + there)
    assert keys(tmp_path / "here" / ".jora") == here, "the same for every run"


def test_a_moved_work_directory_keeps_its_keys(tmp_path: Path) -> None:
    before = keys(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert [key.replace("//new-", "//old-") for key in keys(tmp_path / "new")] == before


def test_a_damaged_id_is_drawn_again_and_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "asset-id").write_bytes(b"\xff../..")
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(_key(store, "chunks"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_names_that_are_no_part_of_a_key(tmp_path: Path) -> None:
    for name in ("my work", "...", "größe"):
        (tmp_path / name).mkdir()
        assert keys(tmp_path / name)
