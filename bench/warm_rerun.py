"""Time of a fully cached run: `python -m bench.warm_rerun [--quick]`.

The sample corpus with the embedded models, few updates and few questions: run once, then repeatedly, each time in a new
process. Alternates with an empty Prefect flow, both without a server (each starts its own) and with a running server.
Medians of the wall time. Quick: 3 turns instead of 7.
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
    """Run once, measure in turns, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 turns")
    arguments = parser.parse_args()
    print(describe_machine("prefect"), flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-warm-") as name:
        box = Box(Path(name))
        warm = (*RUN, "--work-dir", f"{name}/work")
        alone = {key: value for key, value in box.environment.items() if key != "PREFECT_API_URL"}
        print(f"first run: {_seconds(warm, alone):.0f} s", flush=True)
        box.start_server()
        measured: dict[str, list[float]] = {}
        try:
            for _ in range(3 if arguments.quick else 7):
                for key, command, environment in (
                    ("warm", warm, alone),
                    ("empty_flow", EMPTY, alone),
                    ("warm_with_server", warm, box.environment),
                    ("empty_flow_with_server", EMPTY, box.environment),
                ):
                    measured.setdefault(key, []).append(_seconds(command, environment))
        finally:
            box.stop()
    medians = {key: statistics.median(seconds) for key, seconds in measured.items()}
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
