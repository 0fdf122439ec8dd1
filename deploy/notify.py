"""Tell a chat of models and failures: `JORA_WEBHOOK_URL=https://... .venv/bin/python deploy/notify.py`.

The address goes into a block of the server (`jora-notify`), whose secrets are encrypted; it is often a secret itself,
so it is read from the environment alone. May be repeated; what is told, and how, stands in notify.yaml.
"""

import asyncio
import os
import sys
from pathlib import Path

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.types import SecretDict
from pydantic import SecretStr
from set_up import replace_automation

CONTENT = Path(__file__).with_name("notify.yaml")


async def main() -> None:
    """The block first: the automations name it."""
    url = os.environ.get("JORA_WEBHOOK_URL")
    if not url:
        sys.exit("error: JORA_WEBHOOK_URL is not set; give the address that is to be called")
    block = Webhook(url=SecretStr(url), headers=SecretDict({"Content-Type": "application/json"}))
    document = await block.save("jora-notify", overwrite=True)
    async with get_client() as client:
        for automation in yaml.safe_load(CONTENT.read_text(encoding="utf-8"))["automations"]:
            for action in automation["actions"]:
                action["block_document_id"] = str(document)
            await replace_automation(client, automation)


if __name__ == "__main__":
    asyncio.run(main())
