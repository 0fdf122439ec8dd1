"""Who may ask: the API key, and the names under which this machine may be addressed."""

from __future__ import annotations

import hmac
import re

from starlette.requests import Request

from flows.serving.request_fields import Refusal
from flows.settings.serve_settings import ServeSettings

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

_HEADER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+)(?::\d*)?")


class Callers:
    """Checks of each request but /health.

    A web page whose host name resolves to this machine (DNS rebinding) can ask a server on the loopback as if it were
    its own; its requests have that name in the header Host. Where a key is needed the page lacks it. So names are
    checked without a key, or where some are set.

    Args:
        key: the API key that clients must send; None: no key.
    """

    def __init__(self, settings: ServeSettings, key: str | None) -> None:
        self._key = key
        checked = settings.allow_host or (key is None and settings.loopback)
        self._names = {*_LOOPBACK_NAMES, settings.host, *settings.allow_host} if checked else {"*"}

    def check(self, request: Request) -> None:
        """
        Raises:
            Refusal: 401 or 403.
        """
        if self._key is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key.encode()):
                raise Refusal(
                    401, "a valid key is required: Authorization: Bearer KEY", "invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        if not self._knows(_host(request)):
            raise Refusal(403, f"unknown host {_host(request)}; to allow it: --allow-host NAME", "unknown_host")

    def _knows(self, name: str) -> bool:
        wild = (f"*.{name.split('.', count)[count]}" for count in range(1, name.count(".") + 1))
        return not self._names.isdisjoint({"*", name, *wild})


def _host(request: Request) -> str:
    """The name in the header Host, without the port; "" where it is none.

    Not that of `request.url`, which is this server's own address where the header is malformed.
    """
    match = _HEADER.fullmatch(request.headers.get("host", ""))
    return match[1].strip("[]").lower() if match else ""
