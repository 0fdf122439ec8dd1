"""A full disk in each stage.

The work directory is on a small file system of its own (tmpfs, in a namespace of a child process: no privileges are
needed where Linux lets users have namespaces). Before each stage in turn the disk is filled; the flow must end in one
line that names the disk, leave no incomplete artifact and no file of one; with room again, the same run continues and
ends with the results of a run that had room all along.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.cache import Stage
from tasks.records.records import list_runs
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.command_line import ROOT
from testing.small_pipeline import quiet_server, results_of, run_once, small_settings

SIZE_MB = 400
QUICK_STRIDE = 4


def test_a_full_disk_in_each_stage(tmp_path: Path, full: bool) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("users may not make namespaces here")
    command = [*namespace, sys.executable, __file__, str(tmp_path), str(1 if full else QUICK_STRIDE)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


def inside(folder: Path, stride: int) -> None:
    """Mount the small disk, fill it before each `stride`-th stage, print the figures and check them."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(disk)], check=True)
    with quiet_server():
        settings = small_settings(folder)
        run_once(settings, folder / "roomy")
        expected = results_of(folder / "roomy")
        stages = [stage.stage for stage in list_runs(folder / "roomy")[-1].stages]
        names = list(dict.fromkeys(name for name in stages if not name.startswith("snapshot")))[::stride]
        clear = clean = resumed = 0
        for name in names:
            line = _fail_in(settings, disk / "work", name)
            clear += "\n" not in line and ("no space is left" in line or "free; make room" in line)
            halves = _halves(disk / "work")
            clean += not halves
            (disk / "filler").unlink()
            run_once(settings, disk / "work")
            results = results_of(disk / "work")
            other = [key for key in expected if results.get(key) != expected[key]]
            resumed += not other
            results_are = f"OTHER results ({', '.join(other)})" if other else "the same results"
            print(f"{name}: {line[:150]} | {len(halves)} halves | {results_are}", flush=True)
            shutil.rmtree(disk / "work")
    print(f"figure stages {len(names)}")
    print(f"figure one_clear_line {clear}")
    print(f"figure no_half_artifact {clean}")
    print(f"figure resumed_to_the_same {resumed}")
    assert clear == clean == resumed == len(names) > 1


def _fail_in(settings: dict[str, Any], work: Path, name: str) -> str:
    """Run with the disk full from a stage on; what the run ended with."""
    task = Stage.task

    def filled(self: Stage[Any], store: Store) -> Any:
        if self.name == name:
            _fill(work.parent)
        return task(self, store)

    Stage.task = filled  # type: ignore[method-assign]
    try:
        run_once(settings, work)
    except Exception as error:
        return str(error)
    finally:
        Stage.task = task  # type: ignore[method-assign]
    return "nothing failed"


def _fill(disk: Path) -> None:
    """Leave no more than a page or two."""
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 65536)


def _halves(work: Path) -> list[Path]:
    """Return the artifacts that are damaged or incomplete, and what was left beside them."""
    store = Store(work)
    found = [path for path in store.tmp.iterdir() if not path.name.startswith(".")]
    for folder in store.artifacts.glob("*/*"):
        try:
            store.verify(Artifact(kind=folder.parent.name, digest=folder.name, bytes=0), full=True)
        except ValueError:
            found.append(folder)
    return found


if __name__ == "__main__":
    inside(Path(sys.argv[1]), int(sys.argv[2]))
