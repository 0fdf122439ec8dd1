"""The command line `jora`, in this process or in one of its own."""

import os
import subprocess
import sys
from pathlib import Path

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


def start_jora(*arguments: object, prefect: str | None, log: Path, **environment: str) -> "subprocess.Popen[bytes]":
    """A process of its own, as a person starts it, that reports to the server at the URL `prefect`; None: its own."""
    environment = {**os.environ, **environment}
    environment.pop("PREFECT_API_URL", None)
    if prefect is not None:
        environment["PREFECT_API_URL"] = prefect
    with log.open("wb") as file:
        return subprocess.Popen([*JORA, *map(str, arguments)], env=environment, cwd=ROOT, stdout=file, stderr=file)
