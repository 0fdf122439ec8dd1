"""Set up a server for this repository: `.venv/bin/python deploy/set_up.py [process] [docker] [kubernetes]`.

Creates a work pool for one run at a time, its deployments, and the automations that restart crashed runs. What exists
is updated, so the command may be repeated. The server is that of PREFECT_API_URL or of the active profile.
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
RUNS_AT_ONCE = 1  # per pool: a machine has memory for one training run


def main() -> None:
    """Create pools and automations, then the deployments, which name the pools."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"kinds of pools [process]: {', '.join(FILES)}")
    kinds = parser.parse_args().kinds or ["process"]
    os.chdir(ROOT)
    if unknown := set(kinds) - set(FILES):
        sys.exit(f"error: unknown kind {', '.join(sorted(unknown))}; allowed are {', '.join(FILES)}")
    for kind in kinds:
        asyncio.run(_server_side(kind))
        _prefect("--no-prompt", "deploy", "--all", "--prefect-file", FILES[kind])


def _prefect(*arguments: str) -> None:
    """Run Prefect's command line in this process, so that the flows of further files need no second import."""
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
        sys.exit(f"error: the package for {kind} pools is missing; run: pip install -c constraints.txt -e '.[{kind}]'")
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
    """Create an automation, or update the one of the same name.

    An equal one is not updated: an update would drop the runs whose next heartbeat it waits for.
    """
    automation = AutomationCore.model_validate(content)
    existing = await client.read_automations_by_name(automation.name)
    if not existing:
        await client.create_automation(automation)
    for one in existing:
        if AutomationCore.model_validate(one.model_dump(exclude={"id"})) != automation:
            await client.update_automation(one.id, automation)


if __name__ == "__main__":
    main()
