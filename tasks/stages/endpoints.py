"""What stages that ask a server share: the key out of a Prefect Secret block, and what the calls took."""

import json
from collections import Counter

from data.endpoint.kept_answers import TeacherAnswer
from data.endpoint.settings import EndpointSettings
from user_error import UserError


def load_secret(settings: EndpointSettings) -> str:
    """The value of the Prefect Secret block that `api_key_secret` names.

    Raises:
        UserError: there is no such block.
    """
    from prefect.blocks.system import Secret

    assert settings.api_key_secret is not None
    try:
        secret = Secret.load(settings.api_key_secret)
    except ValueError:
        raise UserError(
            f"there is no Prefect Secret block of the name in {settings.GROUP}.api_key_secret: make it in Prefect's "
            "UI, or leave the setting out"
        ) from None
    assert isinstance(secret, Secret)  # a coroutine only in a loop, where no stage runs
    return str(secret.get()).strip()


def summarize_calls(answers: list[TeacherAnswer], settings: EndpointSettings) -> str:
    """What the answers took, as JSON: the same for the same answers, however often a run was killed."""
    tokens_in = sum(answer.tokens_in for answer in answers)
    tokens_out = sum(answer.tokens_out for answer in answers)
    summary = {
        "calls": len(answers),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "calls_with_estimated_tokens": sum(answer.estimated for answer in answers),
        "cost": settings.cost(tokens_in, tokens_out),
        "finish": dict(sorted(Counter(answer.finish for answer in answers).items())),
    }
    return json.dumps(summary, indent=1, sort_keys=True) + "\n"
