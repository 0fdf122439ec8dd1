"""README promises nothing that is not there: each command in it is parsed by the program that it names.

Its Python lines run in test_end_to_end.py, and the deployments' commands in test_deployments.py.
"""

import importlib
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from flows.cli.main import app
from flows.settings.config import load_config
from flows.settings.used import GOALS, check_used
from jora_model.runtime import several
from jora_model.spec.job import TrainJob
from testing.command_line import ROOT

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command of the code blocks without a language and of code within the text, one a program."""
    lines = [line for language, text in BLOCK.findall(README) if not language for line in text.splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", BLOCK.sub("", README))]
    parts = [part.strip() for line in lines for part in line.split("#")[0].split("&&")]
    # Square brackets and dots stand for what may be left out, or follow.
    plain = [re.sub(r"[\[\]]|\.\.\.", "", part).strip() for part in parts]
    return sorted({part for part in plain if re.match(r"(make|(\.venv/bin/)?(jora|prefect)) ", part)})


def words(command: str) -> list[str]:
    return shlex.split(command)[1:]


def of(program: str) -> list[str]:
    found = [command for command in commands() if Path(command.split()[0]).name == program]
    assert found, f"README has no {program} command"
    return found


@pytest.mark.parametrize("command", of("make"))
def test_make(command: str) -> None:
    """Known targets; `-n` prints what would run."""
    done = subprocess.run(["make", "-n", *words(command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", of("jora"))
def test_jora(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known commands, options and settings, and files of the repository that are there."""
    monkeypatch.chdir(ROOT)
    name, *arguments = words(command)
    group = typer.main.get_command(app)
    known = group.commands  # type: ignore[attr-defined]
    assert name in known
    given = known[name].make_context(name, arguments).params
    config = given.get("config")
    if config is not None and config.parent != Path():
        assert config.is_file()
        load_config(config, {})
    load_config(None, {}, given.get("sets") or ())
    if name in GOALS or name == "plan":
        check_used(name, given.get("sets") or ())


@pytest.mark.parametrize("command", of("prefect"))
def test_prefect(command: str) -> None:
    # Private, since the public entry point parses and runs at once.
    from prefect.cli._app import _app

    arguments = [word for word in words(command) if word != "--no-prompt"]
    _, bound = _app.parse_args(arguments, exit_on_error=False, print_error=False)[:2]
    if arguments[:2] == ["deployment", "run"]:
        assert bound.arguments["name"] in deployments()


def test_job_file_and_its_commands() -> None:
    """The job has known fields, and each command names its process, or the cluster that does."""
    (job,) = (text for language, text in BLOCK.findall(README) if language == "json")
    assert TrainJob.model_validate_json(job).mesh.devices == 2
    found = re.findall(
        r"^(?:srun )?\.venv/bin/python -m jora_model\.training\.train job\.json (.*?) +#", README, re.MULTILINE
    )
    assert len(found) == 2
    for arguments in found:
        options, rest = several.OPTIONS.parse_known_args(shlex.split(arguments))
        assert not rest
        assert options.cluster or several.member_of(options) == ("HOST:1234", 2, 0, 300.0, None)


def deployments() -> set[str]:
    """FLOW/DEPLOYMENT of each deployment in prefect.yaml."""
    found = set()
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        module, function = deployment["entrypoint"].split(":")
        flow = getattr(importlib.import_module(module.removesuffix(".py").replace("/", ".")), function)
        found.add(f"{flow.name}/{deployment['name']}")
    return found


def test_what_is_installed_comes_from_the_clone() -> None:
    """The registries have packages of this project's name that are not this project's."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    paths = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").iterdir()]
    for folder in ("data", "deploy", "flows", "jora_model", "tasks"):
        paths += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml", ".html", "")]
    found = 0
    for path in filter(Path.is_file, paths):
        for line in path.read_text(encoding="utf-8").splitlines():
            command = line.partition("pip install")[2]
            assert "jora" not in command, f"{path}: {line}"
            for extra in re.findall(r"\.\[([a-z0-9]+)\]", command):
                assert extra in extras and "-c constraints.txt -e '.[" in command, f"{path}: {line}"
                found += 1
    assert found > 15


def test_files_that_are_named_are_there() -> None:
    named = re.findall(r"`((?:\w+/)+[\w.]*|\w+\.(?:yaml|md|txt|toml))`", BLOCK.sub("", README))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_names_in_files_that_are_named_are_there() -> None:
    """`NAME` in `file.py`."""
    for name, file in re.findall(r"`(\w+)` in `([\w/]+\.py)`", README):
        assert re.search(rf"^{name}\b", (ROOT / file).read_text(), re.MULTILINE), f"{name} is not in {file}"
