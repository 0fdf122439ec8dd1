"""Two runs at once: `python -m bench.races [--quick]`.

Two processes of `jora run` (a tiny model, two documents) are started together on one fresh work directory, five times
(quick: twice), each with a server of its own. Both must end well, with the same results, and no stage may be built
twice: what one builds the other finds cached.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.machine import describe_machine
from tasks.records.records import list_runs
from testing.box import ROOT
from testing.small_pipeline import small_settings


def main() -> None:
    """Start pairs, compare, then print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 pairs")
    arguments = parser.parse_args()
    print(describe_machine("prefect"), flush=True)
    pairs, right, twice = 2 if arguments.quick else 5, 0, 0
    with tempfile.TemporaryDirectory(prefix="jora-races-") as name:
        folder = Path(name)
        config = folder / "settings.yaml"
        import yaml

        config.write_text(yaml.safe_dump(_plain(small_settings(folder))))
        for number in range(pairs):
            work = folder / f"work-{number}"
            environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
            environment.pop("PREFECT_API_URL", None)
            command = [sys.executable, "-m", "flows.cli.main", "run", "--config", str(config), "--work-dir", str(work)]
            logs = [folder / f"{number}-{side}.log" for side in "ab"]
            started = []
            for log in logs:
                with log.open("w") as file:
                    started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file))
            codes = [process.wait() for process in started]
            runs = list_runs(work)
            built = Counter(
                (stage.stage, stage.artifact.digest)
                for run in runs
                for stage in run.stages
                if not stage.cached and not stage.stage.startswith("snapshot")
            )
            same = len(runs) == 2 and runs[0].artifacts == runs[1].artifacts
            ended = all(run.state in ("completed", "nothing to do") for run in runs)
            right += codes == [0, 0] and same and ended
            twice += sum(count > 1 for count in built.values())
            print(f"pair {number}: exit codes {codes}, {len(built)} stages built, same results: {same}", flush=True)
            if codes != [0, 0]:
                print("\n".join(log.read_text()[-2000:] for log in logs), flush=True)
    print(f"figure pairs {pairs}")
    print(f"figure both_right {right}")
    print(f"figure stages_built_twice {twice}")


def _plain(value: object) -> object:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    main()
