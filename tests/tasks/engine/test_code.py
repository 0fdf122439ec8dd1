"""Code digests: an edit counts when the stage may notice it, and only then."""

import importlib
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

import tasks.engine.code
from tasks.engine.code import source_digest, stage_code

SOURCE = '''
"""Module."""

def area(width, height):
    """Size of it."""
    return width * height  # plain
'''


def test_comments_and_docstrings_do_not_count_and_logic_does() -> None:
    same = SOURCE.replace("plain", "very plain").replace("Size of it.", "Its size.").replace('"""Module."""', "")
    same = same.replace("width * height", "(width *\n        height)")
    assert source_digest(same) == source_digest(SOURCE)
    assert source_digest(SOURCE.replace("*", "+")) != source_digest(SOURCE)
    assert source_digest(SOURCE + "\nLIMIT = 3\n") != source_digest(SOURCE)


FILES = {
    "made_library/__init__.py": "",
    "made_library/top.py": """
        import json
        from made_library.helper import two

        def run():
            from made_library import late
            return two() + late.LATE

        def unused():
            return 0
        """,
    "made_library/helper.py": "from made_library import top\n\ndef two():\n    return 2\n",
    "made_library/late.py": "LATE = 1\nPAGE = 'page.html'\n",
    "made_library/page.html": "<p>text</p>\n",
    "made_library/other.html": "<p>text</p>\n",
    "made_library/apart.py": "APART = 1\n",
    "made_library/job.py": "import made_library.job_part\n",
    "made_library/job_part.py": "PART = 1\n",
    "made_tasks/__init__.py": "",
    "made_tasks/other/__init__.py": "",
    "made_tasks/other/opening.py": "def opened():\n    return 8\n",
    "made_tasks/store.py": "def write(text):\n    return text\n",
    "made_tasks/opening.py": """
        from functools import cache
        from made_library import late

        @cache
        def opened():
            return shared() + 1

        def shared():
            return late.LATE

        def other():
            return 5
        """,
    "made_tasks/steps.py": """
        from made_library.top import run
        from made_tasks.opening import opened
        from made_tasks.other.opening import opened as reopened
        from made_tasks.store import write

        LIMIT = 3
        UNUSED = 4

        def stage(**options):
            return lambda function: function

        @stage(name="first", retries=1)
        def first(store):
            return write(_helper(run()) + opened() + reopened())

        def _helper(value):
            return min(value, LIMIT)

        def second(store):
            return 7
        """,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library and a package of tasks like ours, importable, with the stage function `made_tasks.steps.first`."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tasks.engine.code, "LIBRARY", ("made_library",))
    monkeypatch.setattr(tasks.engine.code, "TASKS", "made_tasks")
    monkeypatch.setattr(tasks.engine.code, "MACHINERY", ("made_tasks.store",))
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith("made_")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def first() -> Callable[..., object]:
    function: Callable[..., object] = importlib.import_module("made_tasks.steps").first
    return function


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("made_tasks/steps.py", "write(", "write( # so\n", False),
        ("made_tasks/steps.py", "LIMIT = 3", "LIMIT = 4", True),
        ("made_tasks/steps.py", "UNUSED = 4", "UNUSED = 5", False),
        ("made_tasks/steps.py", "min(", "max(", True),
        ("made_tasks/steps.py", "return 7", "return 8", False),
        ("made_tasks/opening.py", "+ 1", "+ 2", True),
        # Two files of one name: neither hides the other.
        ("made_tasks/other/opening.py", "return 8", "return 9", True),
        ("made_tasks/opening.py", "return late.LATE", "return -late.LATE", True),
        ("made_tasks/opening.py", "return 5", "return 6", False),
        ("made_tasks/store.py", "return text", "return text * 2", False),
        ("made_library/top.py", "import json", "import json  # for later", False),
        ("made_library/top.py", "two() +", "two() -", True),
        ("made_library/helper.py", "return 2", "return 3", True),
        ("made_library/late.py", "1", "2", True),
        ("made_library/apart.py", "1", "2", False),
        # A file that is no code: where a module that the stage uses names it.
        ("made_library/page.html", "text", "words", True),
        ("made_library/other.html", "text", "words", False),
        ("made_library/job_part.py", "1", "2", True),
    ],
)
def test_what_the_stage_uses_counts(file: str, old: str, new: str, counts: bool, folder: Path) -> None:
    function = first()
    before = stage_code(function, ("made_library.job",))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert (stage_code(function, ("made_library.job",)) != before) is counts
    assert "made_library.job" not in sys.modules


def test_the_function_itself_counts_and_its_decorator_does_not(folder: Path) -> None:
    def edited(old: str, new: str) -> str:
        path = folder / "made_tasks" / "steps.py"
        path.write_text(textwrap.dedent(FILES["made_tasks/steps.py"]).replace(old, new))
        importlib.invalidate_caches()
        sys.modules.pop("made_tasks.steps", None)
        return stage_code(first())

    plain = edited("", "")
    assert edited("retries=1", "retries=20") == plain
    assert edited("+ opened()", "+ opened() + 10") != plain


def test_the_same_code_elsewhere_has_the_same_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = stage_code(first())
    (folder / "elsewhere").mkdir()
    for package in ("made_library", "made_tasks"):
        (folder / package).rename(folder / "elsewhere" / package)
    monkeypatch.syspath_prepend(str(folder / "elsewhere"))
    for name in [name for name in sys.modules if name.startswith("made_")]:
        monkeypatch.delitem(sys.modules, name)
    assert stage_code(first()) == here


def test_libraries_are_those_that_the_code_imports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage_code(first()).libraries == {}
    (folder / "made_library" / "helper.py").write_text("import yaml\n\ndef two():\n    import docx\n    return 2\n")
    (folder / "made_library" / "apart.py").write_text("import numpy\n")
    used = stage_code(first())
    assert used.libraries == {"docx": metadata.version("python-docx"), "yaml": metadata.version("PyYAML")}
    monkeypatch.setattr(tasks.engine.code, "_version", lambda package: "1.0")
    upgraded = stage_code(first())
    assert upgraded.digest == used.digest and upgraded.key != used.key


def test_a_library_that_is_not_installed_is_absent(folder: Path) -> None:
    (folder / "made_library" / "late.py").write_text("LATE = 1\n\ndef late():\n    import made_nowhere\n")
    assert stage_code(first()).libraries == {"made_nowhere": "absent"}


def test_unknown_module(folder: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"made_library\.nothing"):
        stage_code(first(), ("made_library.nothing",))


def test_threads_agree(folder: Path) -> None:
    function = first()
    with ThreadPoolExecutor(8) as pool:
        assert len({code.digest for code in pool.map(lambda _: stage_code(function), range(64))}) == 1


def test_a_parse_that_met_another_thread_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11: "AST constructor recursion depth mismatch", which only another thread's parse can cause."""
    wanted, failures = source_digest(SOURCE), [SystemError("AST constructor recursion depth mismatch")] * 2
    parse = tasks.engine.code.ast.parse

    def meets(source: str) -> object:
        if failures:
            raise failures.pop()
        return parse(source)

    monkeypatch.setattr(tasks.engine.code.ast, "parse", meets)
    assert source_digest(SOURCE) == wanted and not failures
