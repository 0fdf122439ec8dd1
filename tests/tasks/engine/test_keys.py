"""Cache keys: equal where the result is equal, different where it may differ, an error where nobody can tell."""

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from tasks.engine.keys import canonical, stage_key
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


class Inner(BaseModel):
    """A group of settings."""

    names: tuple[str, ...] = ("a", "b")


class Settings(BaseModel):
    """A stage's settings."""

    model_config = ConfigDict(frozen=True)

    size: int = 3
    rate: float = 0.5
    inner: Inner = Inner()


def key(**inputs: object) -> str:
    return stage_key("chunk-documents", 1, "code", inputs)


def test_key_is_a_file_name() -> None:
    name, digest = key(size=1).rsplit("-", 1)
    assert name == "chunk-documents"
    assert len(bytes.fromhex(digest)) == 32


def test_every_part_counts() -> None:
    keys = {
        stage_key("a", 1, "code", {"x": 1}),
        stage_key("b", 1, "code", {"x": 1}),
        stage_key("a", 2, "code", {"x": 1}),
        stage_key("a", 1, "other", {"x": 1}),
        stage_key("a", 1, None, {"x": 1}),
        stage_key("a", 1, "code", {"y": 1}),
        stage_key("a", 1, "code", {"x": 1}, {"jax": "0.10.2"}),
        stage_key("a", 1, "code", {"x": 1}, {"jax": "0.11.2"}),
        *(stage_key("a", 1, "code", {"x": x}) for x in (2, 1.0, True, "1", None, (1,), {1}, {"1": 1}, ((1,),))),
        *(stage_key("a", 1, "code", {"x": Artifact(kind=k, digest=d * 32, bytes=1)}) for k, d in ("ad", "ae", "bd")),
    }
    assert len(keys) == 20


def test_what_does_not_count() -> None:
    assert key(x={"a": 1, "b": 2}) == key(x={"b": 2, "a": 1})
    assert key(x={"a", "b", "c"}) == key(x=frozenset(("c", "b", "a")))
    assert key(x=[1, 2]) == key(x=(1, 2))

    class Renamed(Settings):
        pass

    assert key(x=Settings()) == key(x=Renamed())


def test_settings_count_by_field() -> None:
    keys = {key(x=s) for s in (Settings(), Settings(size=4), Settings(inner=Inner(names=("b", "a"))))}
    assert len(keys) == 3


def test_same_folder_elsewhere_has_the_same_key(tmp_path: Path) -> None:
    artifacts = []
    for name in ("here", "there"):
        with Store(tmp_path / name).build("documents") as build:
            (build.folder / "documents.jsonl").write_text("{}\n")
            build.count(**({"documents": 1} if name == "here" else {}))
        artifacts.append(build.artifact)
    assert key(x=artifacts[0]) == key(x=artifacts[1])
    assert key(x=artifacts[0]) != key(x=Artifact(kind="documents", digest="0" * 32, bytes=3))


def test_key_does_not_hang_on_the_hash_seed() -> None:
    code = "from tasks.engine.keys import stage_key; print(stage_key('a', 1, None, {'x': {'p', 'q', 'r', 's', 't'}}))"
    keys = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(keys) == 1


@pytest.mark.parametrize(
    "value",
    [
        Path("/data"),
        np.zeros(3),
        np.float64(1.0),
        np.int64(1),
        float("nan"),
        float("inf"),
        (x for x in "ab"),
        object(),
        b"bytes",
        len,
        {1: "one"},
        (1, [2, {Path("x")}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_canonical_form(value: object) -> None:
    with pytest.raises(TypeError, match="my stage: folder"):
        stage_key("my stage", 1, None, {"folder": value})


def test_error_names_the_field() -> None:
    class Bad(BaseModel):
        rate: float

    with pytest.raises(TypeError, match=r"settings\.rate is nan"):
        canonical(Bad(rate=float("nan")), "settings")


def test_fields_that_change_nothing_are_no_part_of_the_key() -> None:
    class WithSpeed(Settings):
        NO_INPUT: ClassVar[frozenset[str]] = frozenset({"speed"})

        speed: int = 1

    assert key(settings=WithSpeed(speed=2)) == key(settings=WithSpeed()) == key(settings=Settings())
    assert key(settings=WithSpeed(size=4)) != key(settings=WithSpeed())
