"""Two runs at once on one work directory.

Two processes of `jora run` (a tiny model, two documents) are started together on one fresh work directory, five times
(quick: once), each with a server of its own. Both must succeed, with the same results, and no stage may be built
twice: what one builds the other finds cached.
"""

import os
import subprocess
from collections import Counter
from pathlib import Path

import yaml

from tasks.records.records import list_runs
from testing.command_line import JORA, ROOT
from testing.small_pipeline import small_settings


def test_two_runs_at_once_build_nothing_twice(tmp_path: Path, full: bool) -> None:
    pairs = 5 if full else 1
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(_plain(small_settings(tmp_path))))
    found = [_pair(tmp_path, config, number) for number in range(pairs)]
    print(f"figure pairs {pairs}")
    print(f"figure both_right {sum(right for right, _ in found)}")
    print(f"figure stages_built_twice {sum(twice for _, twice in found)}")
    assert found == [(True, 0)] * pairs


def _pair(folder: Path, config: Path, number: int) -> tuple[bool, int]:
    """Return whether both of a pair succeeded with the same results, and how many stages were built twice."""
    work = folder / f"work-{number}"
    environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
    environment.pop("PREFECT_API_URL", None)
    command = [*JORA, "run", "--config", str(config), "--work-dir", str(work)]
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
    print(f"pair {number}: exit codes {codes}, {len(built)} stages built, same results: {same}", flush=True)
    if codes != [0, 0]:
        print("\n".join(log.read_text()[-2000:] for log in logs), flush=True)
    return codes == [0, 0] and same and ended, sum(count > 1 for count in built.values())


def _plain(value: object) -> object:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
