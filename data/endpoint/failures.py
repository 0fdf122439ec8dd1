"""An attempt of a teacher's call that came to nothing: what it took all the same, and when to try again.

A server that turns a call away (429, 503) takes nothing. One that was asked and breaks down, hangs, or answers what
cannot be read has the prompt, and will be paid for it: its tokens are estimated where it says nothing.
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
    """One attempt came to nothing, and another may not.

    Attributes:
        how: in words.
        pause: seconds for which the server asks to be left alone.
        took: what the server will want to be paid for.
    """

    def __init__(self, how: str, pause: float = 0.0, took: Tokens | None = None) -> None:
        super().__init__(how)
        self.how = how
        self.pause = pause
        self.took = took or Tokens()


def never_sent(error: openai.APIConnectionError) -> bool:
    """Whether the call failed before there was a connection."""
    return type(error.__cause__).__name__ in _NOT_CONNECTED


def turned_away(error: openai.APIStatusError) -> bool:
    """Whether the server says that it did not begin; one that broke down on the way has read the prompt."""
    return error.status_code in _TURNED_AWAY or error.status_code < 500


def message(error: openai.APIStatusError) -> str:
    """The server's own words, out of the usual wrappings."""
    body: Any = error.body
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return str(body or error.message)


def cause(error: BaseException) -> str:
    """The innermost reason in words, or its class where it says nothing."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def backoff(failures: int) -> float:
    """1, 2, 4, ... seconds, up to a minute, each up to a half shorter, so that calls do not come back all at once."""
    share = random.uniform(0.5, 1.0)  # noqa: S311  no secret
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (failures - 1)) * share


def retry_after(error: openai.APIStatusError) -> float:
    """Seconds, of a header that holds seconds or a date; 0 where there is none that can be read."""
    value = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return 0.0
