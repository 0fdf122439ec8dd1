"""Quality and cost of ranks: `python -m bench.ranks [--quick] [--ranks 4,16,64] [--work-dir DIR]`.

Runs `jora sweep rank` on the sample corpus with the demo's settings (data/samples/raft.yaml) in a new work directory,
so that every stage is timed; then runs it again, with everything cached. Quick: 4 updates of 8 examples instead of an
epoch, and 8 questions, which tests the command but not the quality.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import describe_machine

SETTINGS = Path("data") / "samples" / "raft.yaml"
QUICK = ("training.max_updates=4", "training.examples_per_update=8", "evaluation.max_questions=8")


def main() -> None:
    """Run the sweep twice, then print each rank's costs and its scores in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="4 small updates and 8 questions")
    parser.add_argument("--ranks", default="4,16,64", help="ranks, separated by commas")
    parser.add_argument("--work-dir", help="keep results there, and reuse those that exist")
    arguments = parser.parse_args()
    print(describe_machine("jax", "jaxlib", "flax", "optax", "prefect"), flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-ranks-") as folder:
        work_dir = Path(arguments.work_dir or folder)
        sets = [part for item in (QUICK if arguments.quick else ()) for part in ("--set", item)]
        options = ["--values", arguments.ranks, "--config", str(SETTINGS), "--work-dir", str(work_dir), *sets]
        seconds = [sweep(options), sweep(options)]
        with (work_dir / "sweeps" / "rank" / "sweep.csv").open(encoding="utf-8") as file:
            points = list(csv.DictReader(file))
    for point in points:
        name = f"rank_{point['rank']}"
        print(f"figure {name}_parameters {point['parameters']}")
        print(f"figure {name}_adapter_mb {int(point['adapter_bytes']) / 1e6:.2f}")
        print(f"figure {name}_step_seconds {float(point['step_seconds']):.2f}")
        for score in ("token_f1", "exact_match"):
            for end in ("", "_low", "_high"):
                print(f"figure {name}_{score}{end} {100 * float(point[score + end]):.1f}")
    print(f"figure ranks_seconds {seconds[0]:.0f}")
    print(f"figure ranks_seconds_again {seconds[1]:.0f}")


def sweep(options: list[str]) -> float:
    """Run the command and return its seconds."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "flows.cli.main", "sweep", "rank", *options], check=True)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
