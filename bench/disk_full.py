"""A full disk in each stage: `python -m bench.disk_full`.

The work directory lies on a small file system of its own (tmpfs, in a namespace of this process: no rights are needed
where Linux lets users have namespaces). Before each stage in turn the disk is filled; the flow must end in one line
that names the disk, leave no half artifact and no file of it; with room again, the same run goes on and ends with the
results of a run that had room all along.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from tasks.engine.cache import Stage
from tasks.records.records import list_runs
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.small_pipeline import quiet_server, results_of, run_once, small_settings

SIZE_MB = 400
_INSIDE = "JORA_BENCH_DISK"


def main() -> None:
    """Go into a namespace, mount, fill before each stage, then print the figures."""
    if _INSIDE not in os.environ:
        here = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "bench.disk_full"]
        with tempfile.TemporaryDirectory(prefix="jora-disk-") as name:
            sys.exit(subprocess.run(here, env={**os.environ, _INSIDE: name}).returncode)
    print(describe_machine("prefect"), flush=True)
    folder = Path(os.environ[_INSIDE])
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    with quiet_server():
        settings = small_settings(folder)
        run_once(settings, folder / "roomy")
        whole = results_of(folder / "roomy")
        stages = [stage.stage for stage in list_runs(folder / "roomy")[-1].stages]
        names = list(dict.fromkeys(name for name in stages if not name.startswith("snapshot")))
        told = clean = resumed = 0
        for name in names:
            line = _fail_in(settings, disk / "work", name)
            good = "\n" not in line and ("no space is left" in line or "free; make room" in line)
            told += good
            halves = _halves(disk / "work")
            clean += not halves
            _free(disk)
            run_once(settings, disk / "work")
            results = results_of(disk / "work")
            other = [key for key in whole if results.get(key) != whole[key]]
            resumed += not other
            results_are = f"OTHER results ({', '.join(other)})" if other else "the same results"
            print(f"{name}: {line[:150]} | {len(halves)} halves | {results_are}", flush=True)
            shutil.rmtree(disk / "work")
    print(f"figure stages {len(names)}")
    print(f"figure one_clear_line {told}")
    print(f"figure no_half_artifact {clean}")
    print(f"figure resumed_to_the_same {resumed}")


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


def _free(disk: Path) -> None:
    (disk / "filler").unlink()


def _halves(work: Path) -> list[Path]:
    """Artifacts that are there and not sound, and what was left beside them."""
    store = Store(work)
    found = [path for path in store.tmp.iterdir() if not path.name.startswith(".")]
    for folder in store.artifacts.glob("*/*"):
        try:
            store.verify(Artifact(kind=folder.parent.name, digest=folder.name, bytes=0), full=True)
        except ValueError:
            found.append(folder)
    return found


if __name__ == "__main__":
    main()
