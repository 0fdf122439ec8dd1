"""Set up notifications: `JORA_WEBHOOK_URL=https://... .venv/bin/python deploy/notify.py`.

The URL is often a secret, so it is read only from the environment; the server stores it encrypted, in the block
`jora-notify`. May be repeated. notify.yaml has the events and the texts.
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
    """Save the block, then create or update the automations that name it."""
    url = os.environ.get("JORA_WEBHOOK_URL")
    if not url:
        sys.exit("error: JORA_WEBHOOK_URL is not set; set it to the URL to call")
    block = Webhook(url=SecretStr(url), headers=SecretDict({"Content-Type": "application/json"}))
    document = await block.save("jora-notify", overwrite=True)
    async with get_client() as client:
        for automation in yaml.safe_load(CONTENT.read_text(encoding="utf-8"))["automations"]:
            for action in automation["actions"]:
                action["block_document_id"] = str(document)
            await replace_automation(client, automation)


if __name__ == "__main__":
    asyncio.run(main())
