"""Send decisions about models to a webhook: `JORA_WEBHOOK_URL=... .venv/bin/python deploy/notify.py`.

Keeps the address in a Webhook block of the Prefect server and creates the automation of deploy/notify.yaml, or brings
both up to date. The server is that of PREFECT_API_URL, or of the active profile.
"""

import asyncio
import os
import sys
from pathlib import Path

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore

TEMPLATE = Path(__file__).with_suffix(".yaml")
BLOCK = "jora-champion"
# From the environment: an address is a secret, and arguments are seen by everybody on the machine.
URL = "JORA_WEBHOOK_URL"


async def set_up(url: str) -> None:
    """Save the block, then the automation that calls it."""
    # `tojson` writes JSON, and a text has no type of its own.
    webhook = Webhook(url=url, headers={"Content-Type": "application/json"})
    block = await webhook.save(BLOCK, overwrite=True)
    content = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    content["actions"] = [action | {"block_document_id": str(block)} for action in content["actions"]]
    automation = AutomationCore.model_validate(content)
    async with get_client() as client:
        there = await client.read_automations_by_name(automation.name)
        for one in there:
            await client.update_automation(one.id, automation)
        if not there:
            await client.create_automation(automation)


if __name__ == "__main__":
    if URL not in os.environ:
        sys.exit(f"error: no address; put it into the environment: {URL}=... {sys.argv[0]}")
    asyncio.run(set_up(os.environ[URL]))
