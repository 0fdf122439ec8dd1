"""What a run costs when nothing has changed: `python -m bench.warm_rerun [--quick]`.

The sample corpus, the embedded models, few updates and questions; run once, then again and again, each time as a new
process. Beside it, in turns, a Prefect flow that does nothing: with no server anywhere (it starts one for itself), and
with a server that is there (`jora run` then goes through its flow). Start to finish, medians. Quick: 3 turns, not 7.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import describe_machine
from testing.box import ROOT, Box

SHORT = ("training.max_updates=2", "evaluation.max_questions=8", "generation.max_new_tokens=32")
RUN = (
    "-m",
    "flows.cli.main",
    "run",
    "--config",
    "data/samples/raft.yaml",
    *(part for one in SHORT for part in ("--set", one)),
)
EMPTY = ("-c", "from prefect import flow\n@flow\ndef empty(): pass\nempty()")


def main() -> None:
    """Run once, then measure in turns, then print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 turns")
    arguments = parser.parse_args()
    print(describe_machine("prefect"), flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-warm-") as name:
        box = Box(Path(name))
        warm = (*RUN, "--work-dir", f"{name}/work")
        alone = {key: value for key, value in box.environment.items() if key != "PREFECT_API_URL"}
        print(f"the first run: {_seconds(warm, alone):.0f} s", flush=True)
        box.start_server()
        found: dict[str, list[float]] = {}
        try:
            for _ in range(3 if arguments.quick else 7):
                for key, command, environment in (
                    ("warm", warm, alone),
                    ("empty_flow", EMPTY, alone),
                    ("warm_with_server", warm, box.environment),
                    ("empty_flow_with_server", EMPTY, box.environment),
                ):
                    found.setdefault(key, []).append(_seconds(command, environment))
        finally:
            box.stop()
    medians = {key: statistics.median(seconds) for key, seconds in found.items()}
    for key, seconds in medians.items():
        print(f"figure {key}_seconds {seconds:.2f}")
    ours = medians["warm_with_server"] - medians["empty_flow_with_server"]
    print(f"figure ours_with_server_seconds {ours:.2f}")


def _seconds(command: tuple[str, ...], environment: dict[str, str]) -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, check=True)
    return time.monotonic() - start


if __name__ == "__main__":
    main()
