"""The same work in an earlier commit and in this tree, in turns, each in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def in_turns(commit: str, rounds: int, script: str, arguments: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Runs a script in both trees; the commit is checked out beside this tree.

    Args:
        script: Python that uses what both trees have, without importing this package; its last line of output is JSON,
            {"work": [seconds, ...]}.

    Returns:
        Work -> median seconds of the commit and of this tree.
    """
    found: dict[str, dict[str, list[float]]] = {"before": {}, "after": {}}
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--detach", str(before), commit], cwd=ROOT, check=True)
        try:
            for number in range(rounds):
                trees = [("before", before), ("after", ROOT)]
                for name, tree in trees if number % 2 == 0 else trees[::-1]:
                    for work, seconds in _run(tree, script, arguments).items():
                        found[name].setdefault(work, []).extend(seconds)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=ROOT, check=True)
    return {
        work: (statistics.median(found["before"][work]), statistics.median(found["after"][work]))
        for work in found["after"]
    }


def _run(tree: Path, script: str, arguments: Sequence[str]) -> dict[str, list[float]]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def print_figures(found: dict[str, tuple[float, float]]) -> None:
    """Print each work's seconds, and the time before over the time now: above 1, this tree is faster."""
    for work, (before, after) in found.items():
        print(f"{work}: {before:.3f} s before, {after:.3f} s now")
        print(f"figure {work}_speed {before / after:.3f}")
