"""Set up a server for this repository: `.venv/bin/python deploy/set_up.py [process] [docker] [kubernetes]`.

The work pool with room for one run, its deployments, and the automations that find crashed runs and start them again.
What is there already is brought up to date, so that the command may be repeated. The server is that of
PREFECT_API_URL, or of the active profile.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect.cli import app
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

ROOT = Path(__file__).resolve().parent.parent
FILES = {"process": "prefect.yaml", "docker": "deploy/docker.yaml", "kubernetes": "deploy/kubernetes.yaml"}
RUNS_AT_ONCE = 1  # of a pool: a machine has room for one training


def main() -> None:
    """The pool first: deployments name it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of pools [process]: {', '.join(FILES)}")
    kinds = parser.parse_args().kinds or ["process"]
    os.chdir(ROOT)
    if unknown := set(kinds) - set(FILES):
        sys.exit(f"error: no pools of the kind {', '.join(sorted(unknown))}; there are {', '.join(FILES)}")
    for kind in kinds:
        asyncio.run(_server_side(kind))
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", FILES[kind])


def _prefect(*arguments: str) -> None:
    """Prefect's command line, in this process: the flows of the next file need no second import of everything."""
    sys.argv = ["prefect", *arguments]
    try:
        app()
    except SystemExit as end:
        if end.code:
            raise


async def _server_side(kind: str) -> None:
    deployments = _read(FILES[kind])["deployments"]
    async with get_client() as client:
        for pool in sorted({deployment["work_pool"]["name"] for deployment in deployments}):
            await _pool(client, pool, kind)
        for automation in _read("deploy/automations.yaml")["automations"]:
            await replace_automation(client, automation)


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


async def _pool(client: PrefectClient, name: str, kind: str) -> None:
    template = await get_default_base_job_template_for_infrastructure_type(kind)
    if template is None:
        sys.exit(f"error: the package for {kind} pools is missing; install it with: pip install 'jora-raft[{kind}]'")
    if kind == "kubernetes":
        ours = _read("deploy/kubernetes-job.yaml")
        template["variables"]["properties"] |= ours["variables"]
        template["job_configuration"]["job_manifest"] = ours["job_manifest"]
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        pool = WorkPoolCreate(name=name, type=kind, base_job_template=template, concurrency_limit=RUNS_AT_ONCE)
        await client.create_work_pool(pool)
    else:
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template, concurrency_limit=RUNS_AT_ONCE))


async def replace_automation(client: PrefectClient, content: dict[str, Any]) -> None:
    """Create an automation, or make the one of the same name like it.

    One that is like it already is left alone: an update forgets the runs whose next heartbeat it waits for.
    """
    automation = AutomationCore.model_validate(content)
    there = await client.read_automations_by_name(automation.name)
    if not there:
        await client.create_automation(automation)
    for one in there:
        if AutomationCore.model_validate(one.model_dump(exclude={"id"})) != automation:
            await client.update_automation(one.id, automation)


if __name__ == "__main__":
    main()
