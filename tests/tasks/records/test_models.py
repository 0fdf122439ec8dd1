"""The registry: one record a model, one champion, a history that a rollback goes back along, links for servers."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from data.evaluation.ladder import TUNED
from tasks.records.models import Decision, ModelRecord, Registry, describe_model, now, roots
from tasks.store.store import Store
from testing.registered import SETTINGS, file_artifact, model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "work")


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store.work_dir)


def crown(store: Store, record: ModelRecord, reason: str = "better") -> bool:
    registry = Registry(store.work_dir)
    champion = registry.champion()
    against = champion.name if champion else None
    return registry.settle(store, record, Decision(promoted=True, reason=reason, when=now(), against=against))


def served(store: Store) -> str:
    return (store.work_dir / "champion" / "adapter" / "weights").read_text()


def test_an_evaluation_from_before_a_metric_was_there(store: Store) -> None:
    record = model(store, "a", [0.5])
    old = {"name": TUNED, "questions": 3, "token_f1": {"value": 0.5, "low": 0.4, "high": 0.6}}
    evaluation = file_artifact(store, "evaluation", **{"summary.json": json.dumps([old])})
    found = describe_model(store, record.artifacts | {"evaluation": evaluation}, SETTINGS, run=None)
    assert found.scores["token_f1"].low == 0.4 and found.scores["quotes_unaided"] is None


def test_the_same_adapter_is_the_same_model(store: Store, registry: Registry) -> None:
    bare = model(store, "a", run="first")
    assert (bare.questions, bare.scores, bare.run) == (0, {}, "first")
    scored = model(store, "a", [0.5, 1.0], run="second")
    assert [m.name for m in registry.all()] == [bare.name] == [scored.name]
    assert scored.scores["token_f1"].value == 0.75 and scored.scores["recall"] is None
    assert (scored.created, scored.run) == (bare.created, "first")
    assert (registry.folder / bare.name / "merged" / "weights").read_text() == "merged a [0.5, 1.0]"
    # Exported once more without an evaluation: what is known of it stays.
    assert model(store, "a") == scored
    assert model(store, "b").name != bare.name


def test_an_export_without_a_merged_model_has_no_link_to_one(store: Store, registry: Registry) -> None:
    record = model(store, "a")
    shutil.rmtree(store.path(record.artifacts["export"]) / "merged")
    registry.register(store, record)
    assert not (registry.folder / record.name / "merged").is_symlink()


def test_champions_follow_one_another_and_are_served(store: Store, registry: Registry) -> None:
    assert registry.champion() is None
    a, b = model(store, "a"), model(store, "b")
    for record, name in ((a, "a"), (b, "b")):
        assert crown(store, record, f"because of {name}")
        assert registry.champion().name == registry.find("champion").name == record.name
        assert served(store) == name
    assert [(reign.name, reign.by, reign.reason) for reign in registry.history()] == [
        (a.name, "run", "because of a"),
        (b.name, "run", "because of b"),
    ]


def test_a_decision_against_another_champion_is_not_taken(store: Store, registry: Registry) -> None:
    a, b = model(store, "a"), model(store, "b")
    late = Decision(promoted=True, reason="the first", when=now(), against=None)
    assert registry.settle(store, a, late)
    assert not registry.settle(store, b, late)
    assert registry.champion().name == a.name and registry.find(b.name).decision is None


def test_rollback_goes_back_along_the_line_and_sticks(store: Store, registry: Registry) -> None:
    a, b, c = (model(store, name) for name in "abc")
    for record in (a, b, c):
        crown(store, record)
    assert registry.roll_back(store, None, "answers in rhyme").name == b.name
    assert served(store) == "b"
    assert {name: reign.reason for name, reign in registry.dismissed().items()} == {c.name: "answers in rhyme"}
    assert registry.roll_back(store, None, "that one, too").name == a.name
    assert set(registry.dismissed()) == {b.name, c.name}
    with pytest.raises(ValueError, match="no previous champion"):
        registry.roll_back(store, None, "")
    # By name, also to one that was rolled back from; what is champion again is no longer dismissed.
    assert registry.roll_back(store, c.name[:6], "it was good").name == c.name
    assert set(registry.dismissed()) == {a.name, b.name}
    assert served(store) == "c"


def test_by_hand(store: Store, registry: Registry) -> None:
    a, b = model(store, "a"), model(store, "b")
    with pytest.raises(ValueError, match=f"{a.name} was never champion; to promote it: jora models promote {a.name}"):
        registry.roll_back(store, a.name, "")
    with pytest.raises(ValueError, match=r"no champion in .* yet"):
        registry.find("champion")
    assert registry.appoint(store, a.name, "to begin with").by == "hand"
    with pytest.raises(ValueError, match="is already the champion"):
        registry.appoint(store, a.name, "")
    with pytest.raises(ValueError, match="there is no model 'xyz'; known are"):
        registry.appoint(store, "xyz", "")
    shutil.rmtree(store.path(b.artifacts["adapter"]))
    with pytest.raises(ValueError, match=f"{b.name} cannot become champion: artifact adapter/.* is broken"):
        registry.appoint(store, b.name, "")
    assert registry.champion().name == a.name


def test_a_work_directory_may_be_moved(store: Store, registry: Registry) -> None:
    crown(store, model(store, "a"))
    moved = store.work_dir.rename(store.work_dir.with_name("elsewhere"))
    assert served(Store(moved)) == "a" and Registry(moved).champion() is not None


def test_a_link_that_a_killed_writer_left_is_put_right(store: Store, registry: Registry) -> None:
    a, b = model(store, "a"), model(store, "b")
    crown(store, a)
    before = (registry.folder / "history.json").read_text()
    crown(store, b)
    (registry.folder / "history.json").write_text(before)  # as if the link had come first, which is worse
    model(store, "c")
    assert served(store) == "a"


def test_what_is_damaged_is_named(store: Store, registry: Registry) -> None:
    a = model(store, "a")
    (registry.folder / "history.json").write_text("{")
    with pytest.raises(ValueError, match=r"history.json is damaged"):
        registry.champion()
    (registry.folder / "history.json").unlink()
    (registry.folder / a.name / "model.json").write_text("{}")
    with pytest.raises(ValueError, match=r"model.json is damaged"):
        registry.all()


def test_looking_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model in .*; make one with: jora run"):
        Registry(tmp_path).find("champion")
    assert not list(tmp_path.iterdir())


def test_writers_do_not_lose_one_another(store: Store, registry: Registry) -> None:
    records = [model(store, f"m{number}") for number in range(6)]
    threads = [threading.Thread(target=crown, args=(store, record)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each was against the champion that it saw, or was not taken.
    history = [reign.name for reign in registry.history()]
    assert history and len(set(history)) == len(history)
    assert {m.name for m in registry.all() if m.decision} == set(history)


def test_roots_are_the_champion_those_before_it_and_all_evaluations(store: Store) -> None:
    assert roots(store) == set()
    records = [model(store, f"m{number}", [number / 8]) for number in range(6)]
    for record in records:
        crown(store, record)
    found = roots(store)
    for record in records[:2]:
        assert {a for a in record.artifacts.values() if a in found and a.kind in ("adapter", "export")} == set()
        assert record.artifacts["evaluation"] in found
    for record in records[2:]:
        assert set(record.artifacts.values()) <= found


def test_names_come_from_the_adapter(store: Store) -> None:
    record = model(store, "a")
    again = describe_model(store, record.artifacts, SETTINGS, run=None)
    assert again.name == record.name == record.artifacts["adapter"].digest[:12]


@pytest.mark.parametrize("name", ["../../thesis", "/etc", "champion", "", "abc"])
def test_a_name_that_is_a_path_is_damage(store: Store, registry: Registry, name: str) -> None:
    a = model(store, "a")
    crown(store, a)
    history = registry.folder / "history.json"
    whole = history.read_text()
    history.write_text(whole.replace(a.name, name))
    with pytest.raises(ValueError, match=r"history.json is damaged"):
        registry.champion()
    history.write_text(whole)
    record = registry.folder / a.name / "model.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"name": name}))
    with pytest.raises(ValueError, match=r"model.json is damaged \(ValidationError\)"):
        registry.all()
    record.write_text(json.dumps(content | {"name": "0123456789ab"}))
    with pytest.raises(ValueError, match=r"model.json is damaged \(it is the record of 0123456789ab\)"):
        registry.all()
