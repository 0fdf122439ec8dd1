"""Scheduled runs that have nothing to do stay quick and small.

One local server, one worker, a deployment over a few sample documents and a tiny model; one run that builds, then 200
(quick: 10) that have nothing to do, each started through the server and waited for, in batches of five; in turns with
them as many runs of a deployment whose flow is empty. Measured: the longest run; the growth of the server's and the
worker's memory in the second half; what each kind of run adds to the database; and the size of a record.
"""

import time
from pathlib import Path
from typing import Any

from testing.box import Box
from testing.small_runs import small_sources

OURS, EMPTY = "build-dataset/on-demand", "empty/empty"
BATCH = 5
# Of the longest run; of server or worker in the second half; of a record; of the database for each run.
LONGEST_SECONDS, GROWTH_MB, RECORD_KB, DATABASE_KB = 60.0, 50.0, 100.0, 1000.0


def test_empty_runs_stay_quick_and_small(box: Box, full: bool) -> None:
    count = 200 if full else 10
    _deploy_empty(box)
    parameters = _parameters(box.folder)
    first = box.run(OURS, parameters)
    box.wait(first, "Completed", "Failed", "Crashed")
    assert box.state(first) == "Completed", box.log("worker")[-3000:]
    longest, rows = 0.0, {OURS: 0, EMPTY: 0}
    memory: list[dict[str, int]] = []
    for batch in range(count // BATCH):
        for deployment, given in ((OURS, parameters), (EMPTY, {})):
            before = _database(box)
            for _ in range(BATCH):
                start = time.monotonic()
                run = box.run(deployment, given)
                box.wait(run, "NothingToDo", "Completed", "Failed", "Crashed")
                assert box.state(run) == ("NothingToDo" if deployment == OURS else "Completed"), box.state(run)
                if deployment == OURS:
                    longest = max(longest, time.monotonic() - start)
            rows[deployment] += _database(box) - before
        memory.append({name: sum(map(_resident, box.pids(name))) for name in ("server", "worker")})
        print(f"{(batch + 1) * BATCH} runs of each: {memory[-1]}", flush=True)
    middle = memory[len(memory) // 2]
    print(f"figure runs {count}")
    print(f"figure longest_seconds {longest:.1f}")
    growth = {name: (memory[-1][name] - middle[name]) / 1e6 for name in ("server", "worker")}
    for name, grown in growth.items():
        print(f"figure {name}_growth_in_second_half_mb {grown:.1f}")
    print(f"figure database_kb_a_run {rows[OURS] / count / 1e3:.1f}")
    print(f"figure database_kb_an_empty_flow {rows[EMPTY] / count / 1e3:.1f}")
    size = sum(path.lstat().st_size for path in (box.folder / "work" / "runs").rglob("*"))
    record = size / (count + 1) / 1e3
    print(f"figure records_kb_a_run {record:.1f}")
    assert longest < LONGEST_SECONDS
    assert max(growth.values()) < GROWTH_MB
    assert record < RECORD_KB
    assert rows[OURS] / count / 1e3 < DATABASE_KB


def _deploy_empty(box: Box) -> None:
    folder = box.folder / "empty"
    folder.mkdir()
    (folder / "empty_flow.py").write_text("from prefect import flow\n\n\n@flow\ndef empty():\n    pass\n")
    (folder / "prefect.yaml").write_text(
        f"deployments:\n  - {{name: empty, entrypoint: '{folder}/empty_flow.py:empty', work_pool: {{name: jora}}}}\n"
    )
    box.command("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(folder / "prefect.yaml"))


def _parameters(folder: Path) -> dict[str, Any]:
    small = {"chunking": {"max_tokens": 96}, "raft": {"context_chunks": 2, "max_tokens": 384}}
    return small_sources(folder, 3) | small


def _database(box: Box) -> int:
    """Bytes of the server's database, with what it has not merged yet."""
    return sum(path.stat().st_size for path in (box.folder / "prefect").glob("prefect.db*"))


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
