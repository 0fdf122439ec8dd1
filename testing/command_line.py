"""The command line `jora`, in this process or in one of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main as cli

ROOT = Path(__file__).parents[1]
JORA = [sys.executable, "-m", "flows.cli.main"]


def jora(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and the one error line on stderr, or "" where there is none. A traceback fails the test."""
    monkeypatch.setattr(sys, "argv", ["jora", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) <= 1
    return int(ended.value.code or 0), errors[0] if errors else ""


class Started(subprocess.Popen[bytes]):
    """A process that is killed when its `with` block fails, which would wait for its end otherwise."""

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *error)


def start_jora(*arguments: object, prefect: str | None, log: Path, **environment: str) -> Started:
    """Start `jora` as a person does, with the Prefect server at the URL `prefect`; None: it starts its own."""
    environment = {**os.environ, **environment}
    environment.pop("PREFECT_API_URL", None)
    if prefect is not None:
        environment["PREFECT_API_URL"] = prefect
    with log.open("wb") as file:
        return Started([*JORA, *map(str, arguments)], env=environment, cwd=ROOT, stdout=file, stderr=file)
