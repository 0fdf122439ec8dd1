"""Failed attempts of a call: the tokens that they cost, and when to try again.

A server that refuses a call (429, 503) charges nothing. One that accepted the prompt and then fails, hangs or sends an
unreadable answer may charge for it: the tokens are estimated if it does not report them.

The openai client's own retries do not serve here: they hide attempts (of 3 requests to a server that hangs or answers
500, the caller sees 1), so that budget and ledger would miss what two of them cost.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from data.endpoint.budget import Tokens

if TYPE_CHECKING:
    import openai

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
RETRIED = frozenset({408, 409, 425, 429})
# By name: which HTTP library raises them is the openai client's own affair.
_NOT_CONNECTED = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})
_TURNED_AWAY = RETRIED | {503, 529}


class Failed(Exception):
    """An attempt failed, and another one may succeed.

    Attributes:
        how: what happened, for messages.
        pause: seconds that the server asks to wait.
        took: tokens that the server may charge for.
    """

    def __init__(self, how: str, pause: float = 0.0, took: Tokens | None = None) -> None:
        super().__init__(how)
        self.how = how
        self.pause = pause
        self.took = took or Tokens()


def never_sent(error: openai.APIConnectionError) -> bool:
    """Whether the call failed before a connection was established."""
    return type(error.__cause__).__name__ in _NOT_CONNECTED


def turned_away(error: openai.APIStatusError) -> bool:
    """Whether the server refused the call before processing it; with other 5xx codes it has read the prompt."""
    return error.status_code in _TURNED_AWAY or error.status_code < 500


def message(error: openai.APIStatusError) -> str:
    """The server's error message, extracted from the usual JSON."""
    body: Any = error.body
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return str(body or error.message)


def cause(error: BaseException) -> str:
    """The message of the innermost exception, or its class if it has none."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def backoff(failures: int) -> float:
    """Seconds to wait: 1, 2, 4, ... up to 60, each shortened by up to half, so that calls do not return all at once."""
    share = random.uniform(0.5, 1.0)  # noqa: S311  not for secrets
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (failures - 1)) * share


def retry_after(error: openai.APIStatusError) -> float:
    """Seconds to wait by the Retry-After header, which holds seconds or a date; 0 if it is missing or unreadable."""
    value = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return 0.0
