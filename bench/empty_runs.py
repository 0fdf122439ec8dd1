"""Scheduled runs that have nothing to do: `python -m bench.empty_runs [--quick]`.

One local server, one worker, a deployment over a few sample documents and a tiny model; one run that builds, then 200
(quick: 20) that have nothing to do, each started through the server and waited for, in batches of ten; in turns with
them as many runs of a deployment whose flow is empty. What grows from the first half to the second: the server's and
the worker's memory, the database for each run of either kind, and the work directory.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from testing.box import Box

OURS, EMPTY = "build-dataset/on-demand", "empty/empty"
BATCH = 10


def main() -> None:
    """Build once, run in turns, then print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 runs of each kind")
    arguments = parser.parse_args()
    print(describe_machine("prefect"), flush=True)
    count = 20 if arguments.quick else 200
    with tempfile.TemporaryDirectory(prefix="jora-empty-") as name:
        box = Box(Path(name))
        try:
            box.start_server()
            box.command("deploy/set_up.py")
            _deploy_empty(box)
            box.start_worker()
            _measure(box, count)
        finally:
            box.stop()


def _measure(box: Box, count: int) -> None:
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
    for name in ("server", "worker"):
        print(f"figure {name}_growth_in_second_half_mb {(memory[-1][name] - middle[name]) / 1e6:.1f}")
    print(f"figure database_kb_a_run {rows[OURS] / count / 1e3:.1f}")
    print(f"figure database_kb_an_empty_flow {rows[EMPTY] / count / 1e3:.1f}")
    size = sum(path.lstat().st_size for path in (box.folder / "work" / "runs").rglob("*"))
    print(f"figure records_kb_a_run {size / (count + 1) / 1e3:.1f}")


def _deploy_empty(box: Box) -> None:
    folder = box.folder / "empty"
    folder.mkdir()
    (folder / "empty_flow.py").write_text("from prefect import flow\n\n\n@flow\ndef empty():\n    pass\n")
    (folder / "prefect.yaml").write_text(
        f"deployments:\n  - {{name: empty, entrypoint: '{folder}/empty_flow.py:empty', work_pool: {{name: jora}}}}\n"
    )
    box.command("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(folder / "prefect.yaml"))


def _parameters(folder: Path) -> dict[str, Any]:
    from testing.small_runs import copy_samples, tiny_base

    corpus, questions = copy_samples(folder, 3)
    return {
        "corpus": str(corpus),
        "questions": str(questions),
        "base_model": str(tiny_base(folder / "base")),
        "work_dir": str(folder / "work"),
        "chunking": {"max_tokens": 96},
        "raft": {"context_chunks": 2, "max_tokens": 384},
    }


def _database(box: Box) -> int:
    """Bytes of the server's database, with what it has not merged yet."""
    return sum(path.stat().st_size for path in (box.folder / "prefect").glob("prefect.db*"))


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
