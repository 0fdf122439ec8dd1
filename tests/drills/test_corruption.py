"""Damaged files are noticed: rebuilt, or refused in one line, and never used.

After one run of the whole pipeline (a tiny model, two documents), each file of each artifact, manifests and Prefect's
records too, is cut short, has a bit flipped, or is removed, one case at a time; then the flow runs again. A case is
good where the run ends with the same results and every artifact of it is sound in full, or where it is refused in one
line. Flips whose modification time was put back are run with verify=full. Quick: 24 cases, spread over all.
"""

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

from tasks.records.records import list_runs
from tasks.store.store import Store
from testing.small_pipeline import quiet_server, results_of, run_once, small_settings

WAYS = ("cut", "flip", "flip, time put back", "remove")
QUICK = 24


def test_damage_is_never_used(tmp_path: Path, full: bool) -> None:
    with quiet_server():
        settings = small_settings(tmp_path)
        sound = tmp_path / "sound"
        run_once(settings, sound)
        expected = results_of(sound)
        paths = [path for kind in ("artifacts", "results") for path in sorted((sound / kind).rglob("*"))]
        files = [path.relative_to(sound) for path in paths if path.is_file() and not path.is_symlink()]
        cases = [(file, way) for file in files for way in WAYS]
        if not full:
            cases = random.Random(0).sample(cases, QUICK)
        print(f"{len(files)} files, {len(cases)} cases", flush=True)
        outcomes = {"rebuilt": 0, "refused": 0, "unharmed": 0, "used": 0}
        for file, way in cases:
            outcome = _case(settings, sound, tmp_path / "damaged", file, way, expected)
            outcomes[outcome] += 1
            if outcome == "used":
                print(f"USED: {file}: {way}", flush=True)
    print(f"figure cases {len(cases)}")
    for outcome, count in outcomes.items():
        print(f"figure {outcome} {count}")
    assert outcomes["used"] == 0
    assert outcomes["rebuilt"], "no damage reached a stage"


def _case(settings: dict[str, Any], sound: Path, work: Path, file: Path, way: str, expected: dict[str, str]) -> str:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(sound, work, symlinks=True)  # with the times of the files
    _damage(work / file, way)
    full = way == "flip, time put back"
    time.sleep(0.01)
    try:
        run_once(settings | {"verify": "full" if full else "quick"}, work)
    except ValueError:
        return "refused"
    store = Store(work, full=True)
    last = list_runs(work)[-1]
    stages = last.stages
    for artifact in (*last.artifacts.values(), *(stage.artifact for stage in stages)):
        try:
            store.verify(artifact)
        except ValueError:
            return "used"
    if results_of(work) != expected:
        return "used"
    return "rebuilt" if any(not stage.cached and "snapshot" not in stage.stage for stage in stages) else "unharmed"


def _damage(path: Path, way: str) -> None:
    status, content = path.stat(), bytearray(path.read_bytes())
    if way == "remove":
        path.unlink()
        return
    if not content:
        content = bytearray(b"x")
    elif way == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if way == "flip, time put back":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
