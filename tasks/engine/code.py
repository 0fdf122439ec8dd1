"""The code and library versions that a stage's function uses, so that a change reruns only what it may affect.

The digest of the code covers the syntax trees of
- the function and, by name, the functions, classes and constants of tasks/ that it uses, and that those use;
- each module of data/ and jora_model/ that any of these imports from, with what it imports of its own package;
- the files of these modules that are no code (templates, style sheets): those in a module's folder that a string of the
  module names.
Comments, docstrings, formatting and the stage's decorator do not count. The libraries are the third-party packages that
any of this code imports, each with its installed version. Nothing is imported to find out.

A list of modules by hand would become stale silently, and then return wrong results from the cache.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import re
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

#: Packages that are followed as whole modules, and the one that is followed name by name.
LIBRARY = ("data", "jora_model", "user_error")
TASKS = "tasks"
# Store and cache do not affect a stage's result: an edit there must not rerun everything.
MACHINERY = ("tasks.store", "tasks.engine")

# ast.parse in two threads at once can raise SystemError on CPython 3.11. A lock serializes our calls; one that collides
# with a call of others (Prefect, inspect) is repeated.
_PARSING = threading.Lock()
_ATTEMPTS = 10
# A file beside a module that is no code.
_FILE_NAME = re.compile(r"[\w-]+\.(?!py$)\w+")


@dataclass(frozen=True)
class _Piece:
    """A statement at a module's top level: its digest, the names in it, and the dotted names that it imports."""

    digest: str
    names: frozenset[str]
    imports: frozenset[str]


@dataclass(frozen=True)
class _Module:
    """A source file: its digest, all that it imports anywhere, its top level by name, and file names in its strings."""

    digest: str
    imports: frozenset[str]
    pieces: dict[str, list[_Piece]]
    imported: dict[str, set[str]]
    file_names: frozenset[str]


# (file, modification time, size) -> what it says: a flow asks many times.
_modules: dict[tuple[str, int, int], _Module] = {}


@dataclass(frozen=True)
class StageCode:
    """What the result of a stage depends on besides its inputs.

    Attributes:
        digest: of the syntax trees.
        libraries: import name of each third-party package -> its installed version ("absent" if it is not installed).
    """

    digest: str
    libraries: dict[str, str]

    @property
    def key(self) -> str:
        """Digest of both."""
        return hashlib.sha256(json.dumps([self.digest, self.libraries], sort_keys=True).encode()).hexdigest()


def stage_code(function: Callable[..., object], modules: Sequence[str] = ()) -> StageCode:
    """The code that `function` uses, and that of `modules` with what they import of their own package.

    Raises:
        ModuleNotFoundError: a module of `modules` does not exist.
    """
    for name in modules:
        if _source_file(name) is None:
            raise ModuleNotFoundError(f"a stage names the module {name}, which does not exist", name=name)
    file = Path(inspect.getsourcefile(function) or "")
    piece = _function_piece(function)
    found = {"function": [piece.digest]}
    external: set[str] = set()
    library = set(modules)
    seen = {(file, function.__name__)}  # the function itself
    waiting = [(file, piece)]
    while waiting:
        file, piece = waiting.pop()
        module = _read(file)
        uses = [(file, name) for name in piece.names if name in module.pieces]
        targets = set(piece.imports).union(*(module.imported.get(name, ()) for name in piece.names))
        for target in targets:
            package = target.split(".")[0]
            if package in LIBRARY:
                library.add(target)
            elif package == TASKS:
                uses.extend(_task_names(target))
            else:
                external.add(package)
        for use in uses:
            if use not in seen:
                seen.add(use)
                pieces = _read(use[0]).pieces.get(use[1], [])
                found[f"{_module_name(use[0])}.{use[1]}"] = [each.digest for each in pieces]
                waiting.extend((use[0], each) for each in pieces)
    for name, path in _closure(library).items():
        module = _read(path)
        found[name] = [module.digest, *_file_digests(path.parent, module.file_names)]
        external.update(target.split(".")[0] for target in module.imports)
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    libraries = {name: _version(name) for name in sorted(external - {*LIBRARY, TASKS} - sys.stdlib_module_names)}
    return StageCode(digest, libraries)


@cache
def _version(package: str) -> str:
    """The installed version of the distribution of an import name (`docx` belongs to python-docx)."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    spec = importlib.util.find_spec(package)
    if spec is None:
        return "absent"
    # metadata.packages_distributions() parses all lists of installed files (0.9 s); this search takes 0.1 s or less.
    locations = spec.submodule_search_locations or [spec.origin or ""]
    lines = (f"\n{package}/".encode(), f"\n{package}.".encode())
    for folder in {Path(location).parent for location in locations}:
        for record in folder.glob("*.dist-info/RECORD"):
            content = b"\n" + record.read_bytes()
            if any(line in content for line in lines):
                return metadata.Distribution.at(record.parent).version
    return "unknown"


def _module_name(path: Path) -> str:
    """The dotted module name of a source file; the same in every checkout."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)


def source_digest(source: str) -> str:
    """Digest of a module's syntax tree, without docstrings."""
    return _digest(_parse(source))


def function_digest(function: Callable[..., object]) -> str:
    """Digest of a function's own syntax tree, without docstrings and decorators."""
    return _function_piece(function).digest


def _function_piece(function: Callable[..., object]) -> _Piece:
    definition = _parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(definition, ast.FunctionDef), function
    definition.decorator_list = []
    return _piece(definition)


def _parse(source: str) -> ast.Module:
    with _PARSING:
        for _ in range(_ATTEMPTS - 1):
            with suppress(SystemError):
                return ast.parse(source)
        return ast.parse(source)


def _digest(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _piece(statement: ast.stmt) -> _Piece:
    return _Piece(
        digest=_digest(statement),
        names=frozenset(node.id for node in ast.walk(statement) if isinstance(node, ast.Name)),
        imports=frozenset(target for _, target in _imports(statement)),
    )


def _read(path: Path) -> _Module:
    status = path.stat()
    known = (str(path), status.st_mtime_ns, status.st_size)
    if known not in _modules:
        tree = _parse(path.read_text(encoding="utf-8"))
        pieces: dict[str, list[_Piece]] = {}
        imported: dict[str, set[str]] = {}
        for statement in tree.body:
            for name, target in _imports(statement):
                imported.setdefault(name, set()).add(target)
            for name in set(_defined(statement)):
                pieces.setdefault(name, []).append(_piece(statement))
        imports = frozenset(target for _, target in _imports(tree))
        strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        file_names = frozenset(text for text in strings if isinstance(text, str) and _FILE_NAME.fullmatch(text))
        _modules[known] = _Module(_digest(tree), imports, pieces, imported, file_names)
    return _modules[known]


def _file_digests(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """Name and digest of each file that is in the folder."""
    for path in (folder / name for name in sorted(names)):
        if path.is_file():
            yield f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in this file, dotted name) of what is imported anywhere below `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, "imports are absolute in this project"
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _task_names(target: str) -> Iterator[tuple[Path, str]]:
    """The (file, name) of a dotted name in tasks/; every name of the file where it is a module."""
    if any(target == room or target.startswith(f"{room}.") for room in MACHINERY):
        return
    if (path := _source_file(target)) is not None:
        yield from ((path, name) for name in _read(path).pieces)
    elif (path := _source_file(target.rpartition(".")[0])) is not None:
        yield path, target.rpartition(".")[2]


def _closure(targets: Iterable[str]) -> dict[str, Path]:
    """The modules that hold these dotted names, and those of the same packages that they import, by name."""
    found: dict[str, Path] = {}
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        path = _source_file(name)
        if path is None:  # a function or class: its module is what counts
            name = name.rpartition(".")[0]
            path = _source_file(name) if name else None
        if path is None or name in found:
            continue
        found[name] = path
        package = name.split(".")[0]
        waiting.extend(target for target in _read(path).imports if target.split(".")[0] == package)
    return found


def _source_file(name: str) -> Path | None:
    """The file of a module, found without importing it; None where `name` is a function, a class or nothing."""
    package, *rest = name.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec is not None and spec.origin and not rest else None
    base = Path(spec.submodule_search_locations[0]).joinpath(*rest)
    candidates = (base.with_suffix(".py"), base / "__init__.py") if rest else (base / "__init__.py",)
    return next((path for path in candidates if path.is_file()), None)
