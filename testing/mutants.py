"""Break the code on purpose and see that tests notice: `python -m testing.mutants [NAME ...]`, or `make mutants`.

tests/mutants/NAME.toml is one small change to the code that would be a fault, and the tests that must fail with it:

    why = "what a user would lose"
    file = "data/scoring/scores.py"
    old = '''the text as it is, exactly once in the file'''
    new = '''the text with the fault'''
    tests = ["tests/data/scoring/test_scores.py::test_token_f1"]

Each change is applied in a copy of the tree, where its tests run. If they pass, the change has survived and the exit
code is 1. An `old` that the file no longer holds is an error, so that the list cannot rot.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "mutants"
TESTS_FAILED = 1  # pytest's exit code; 2 to 5 mean that it could not run them
SECONDS = 600


@dataclass(frozen=True)
class Mutant:
    """One fault: `file` with `old` replaced by `new`, and the `tests` that must fail with it."""

    name: str
    why: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def mutated(self, text: str) -> str:
        """The file's text with the fault in it.

        Raises:
            ValueError: `old` does not occur in it exactly once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.name}: `old` occurs {count} times in {self.file}, not once; update {self.name}.toml"
            )
        return text.replace(self.old, self.new)


def read_mutants(names: Sequence[str] = ()) -> list[Mutant]:
    """The mutants of tests/mutants/, or those with these names, sorted by name."""
    paths = [FOLDER / f"{name}.toml" for name in names] or sorted(FOLDER.glob("*.toml"))
    return [_read(path) for path in paths]


def _read(path: Path) -> Mutant:
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    return Mutant(name=path.stem, **{**values, "tests": tuple(values["tests"])})


def run_mutants(mutants: Sequence[Mutant], workers: int) -> Iterator[tuple[Mutant, bool, float, str]]:
    """Yield for each mutant, as it ends: the mutant, whether its tests failed, seconds, and pytest's last lines."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for worker in range(workers):
            trees.put(_copy(Path(folder) / str(worker)))

        def run(mutant: Mutant) -> tuple[Mutant, bool, float, str]:
            tree = trees.get()
            try:
                return _run(mutant, tree)
            finally:
                trees.put(tree)

        yield from pool.map(run, mutants)


def _copy(tree: Path) -> Path:
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    return tree


def _run(mutant: Mutant, tree: Path) -> tuple[Mutant, bool, float, str]:
    path = tree / mutant.file
    before = path.read_text(encoding="utf-8")
    path.write_text(mutant.mutated(before), encoding="utf-8")
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests]
    # The copy's code, not the installed package's.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        code, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        code, said = TESTS_FAILED, f"stopped after {SECONDS} seconds"
    finally:
        path.write_text(before, encoding="utf-8")
    if code not in (0, TESTS_FAILED):
        raise RuntimeError(f"{mutant.name}: pytest ended with exit code {code}; its last lines:\n{said[-2000:]}")
    return mutant, code == TESTS_FAILED, time.monotonic() - started, said


def main() -> None:
    """Run the mutants and print a line for each, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of mutants (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="how many run at a time [2]")
    options = parser.parse_args()
    survived = []
    mutants = read_mutants(options.names)
    for mutant, caught, seconds, said in run_mutants(mutants, options.workers):
        sys.stdout.write(f"{'caught' if caught else 'SURVIVED':<8} {seconds:5.0f} s  {mutant.name}: {mutant.why}\n")
        sys.stdout.flush()
        if not caught:
            survived.append(mutant.name)
            sys.stdout.write(said[-1000:] + "\n")
    sys.stdout.write(f"figure mutants {len(mutants)}\nfigure mutants_caught {len(mutants) - len(survived)}\n")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
