"""The floors of the house: which room may import which. The table is the plan; every import in the code is checked."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Room -> the rooms of its own package that it may import. They stand above it: imports run up this table only.
ROOMS = {
    "data.files": (),
    "data.text": (),
    "data.documents": ("files", "text"),
    "data.prompting": ("documents", "text"),
    "data.retrieval": ("documents", "files"),
    "data.endpoint": ("files", "prompting"),
    "data.questions": ("documents", "prompting", "text"),
    "data.raft": ("documents", "files", "prompting", "questions", "retrieval", "text"),
    "data.scoring": ("documents", "prompting", "questions", "retrieval", "text"),
    "data.teacher": ("documents", "endpoint", "prompting", "questions"),
    "data.critic": ("documents", "prompting", "questions", "scoring", "text"),
    "data.evaluation": ("documents", "endpoint", "prompting", "questions", "scoring", "teacher"),
    "data.report": ("documents", "prompting", "questions", "raft", "scoring"),
    "data.package": ("documents", "files", "prompting", "questions", "raft", "report"),
    "jora_model.spec": (),
    "jora_model.packing": (),
    "jora_model.runtime": ("spec",),
    "jora_model.formats": ("spec",),
    "jora_model.ops": ("packing", "spec"),
    "jora_model.model": ("formats", "ops", "packing", "runtime", "spec"),
    "jora_model.training": ("formats", "model", "ops", "packing", "runtime", "spec"),
    "jora_model.generation": ("formats", "model", "ops", "packing", "runtime", "spec"),
    "jora_model.planning": ("formats", "model", "ops", "packing", "runtime", "spec", "training"),
    "tasks.store": (),
    "tasks.engine": ("store",),
    "tasks.records": ("store",),
    "tasks.stages": ("engine", "records", "store"),
    "tasks.answering": ("records", "stages", "store"),
    "tasks.workdir": ("records", "stages", "store"),
    "flows.settings": (),
    "flows.pipeline": ("settings",),
    "flows.serving": ("settings",),
    "flows": ("pipeline", "settings"),  # the deployed flows, at the top of the folder
    "flows.cli": ("flows", "pipeline", "serving", "settings"),
    "testing": (),
    "bench": (),
}
# Package -> the packages that it may import.
PACKAGES = {
    "data": (),
    "jora_model": (),
    "tasks": ("data", "jora_model"),
    "flows": ("data", "jora_model", "tasks"),
    "testing": ("data", "flows", "jora_model", "tasks"),
    "bench": ("data", "flows", "jora_model", "tasks", "testing"),
    "tests": ("data", "flows", "jora_model", "tasks", "testing"),
}
# Package -> what it must do without.
FOREIGN = {
    "data": ("flax", "jax", "optax", "prefect"),
    "jora_model": ("datasets", "faiss", "prefect", "sentence_transformers", "torch", "transformers"),
}


def modules(package: str) -> dict[str, Path]:
    """Dotted name -> file, rooms' own `__init__` included."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, also in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: imports are absolute in this project"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str, known: set[str]) -> str:
    """`data.text.words.WORD` -> `data.text`; a module at the top of a package -> the package."""
    parts = name.split(".")
    room = ".".join(parts[:2])
    return room if room in ROOMS and room in known else parts[0]


OURS = {name for package in PACKAGES for name in modules(package)}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_down_the_floors(package: str) -> None:
    wrong = []
    for name, path in modules(package).items():
        here = room_of(name, OURS)
        for target in imports(path):
            top = target.split(".")[0]
            if top in FOREIGN.get(package, ()) or (top in PACKAGES and top not in (package, *PACKAGES[package])):
                wrong.append(f"{name} imports {target}")
            elif top == package and package != "tests":
                there = room_of(target, OURS)
                allowed = {room if room == package else f"{package}.{room}" for room in ROOMS[here]}
                if there not in (here, *allowed):
                    wrong.append(
                        f"{name} imports {target}: {here} may import {', '.join(sorted(allowed)) or 'no room'}"
                    )
    assert not wrong, "\n".join(wrong)


def test_every_room_is_in_the_table_and_says_what_it_is_for() -> None:
    for package in ("data", "jora_model", "tasks", "flows"):
        folders = {f"{package}.{path.parent.name}" for path in (ROOT / package).glob("*/*.py")}
        assert folders == {room for room in ROOMS if room.startswith(f"{package}.")}
        for room in folders:
            words = ast.get_docstring(ast.parse((ROOT / room.replace(".", "/") / "__init__.py").read_text()))
            assert words and words.count("\n") == 0 and words.endswith("."), f"{room}: one sentence says what it is for"


def test_the_readme_shows_each_room_with_its_sentence() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for room in (room for room in ROOMS if "." in room):
        path = room.replace(".", "/")
        words = ast.get_docstring(ast.parse((ROOT / path / "__init__.py").read_text(encoding="utf-8")))
        assert f"| `{path}/` | {words} |" in readme, f"README.md's table of rooms lacks the sentence of {path}"


def test_the_table_has_no_circle_and_no_module_is_in_one() -> None:
    floors = {room: [f"{room.split('.')[0]}.{below}" for below in ROOMS[room] if below != "flows"] for room in ROOMS}
    TopologicalSorter(floors).prepare()
    files = {name: path for package in PACKAGES for name, path in modules(package).items()}
    graph = {}
    for name, path in files.items():
        targets = {t if t in files else t.rpartition(".")[0] for t in imports(path)}
        graph[name] = {t for t in targets if t in files and t != name}
    TopologicalSorter(graph).prepare()


def test_tests_stand_where_their_rooms_are() -> None:
    for path in (ROOT / "tests").glob("*/*/test_*.py"):
        package, room = path.relative_to(ROOT / "tests").parts[:2]
        if package in ("data", "jora_model", "tasks", "flows"):
            assert f"{package}.{room}" in ROOMS, f"{path}: there is no room {package}/{room}"
