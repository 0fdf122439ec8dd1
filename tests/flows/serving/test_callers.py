"""Who may ask: names in the header Host, and web pages of other origins, through real HTTP."""

from typing import Any

import httpx
import pytest

from flows.settings.serve_settings import make_settings
from testing.chat_servers import QUIET, body, serving
from user_error import UserError

CHAT = "/v1/chat/completions"


def status(url: str, host: str, key: str | None = None) -> int:
    """Of a request that has this name in its header."""
    headers = {"host": host} | ({"authorization": f"Bearer {key}"} if key else {})
    return httpx.get(f"{url}/v1/models", headers=headers).status_code


def test_names_on_the_loopback(opened):
    with serving(*opened) as url:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:80", "LOCALHOST"):
            assert status(url, host) == 200, host
        for host in (
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "[",
            "*",
            "a_b.example",
        ):
            assert status(url, host) == 403, host
        assert status(url, "evil.example:99999") == 403, "a malformed name is no name of this server"
        refused = httpx.post(url + CHAT, json=body(), headers={"host": "evil.example"})
        assert refused.json()["error"]["message"] == "unknown host evil.example; to allow it: --allow-host NAME"


def test_names_that_are_allowed(opened):
    with serving(*opened, allow_host=("Box.example", "*.lan.example")) as url:
        for host in ("box.example:8000", "BOX.EXAMPLE", "a.lan.example", "a.b.lan.example", "localhost"):
            assert status(url, host) == 200, host
        for host in ("lan.example", "evil.example", "notlan.example", "box.example.evil.example"):
            assert status(url, host) == 403, host
    with serving(*opened, key="secret", allow_host=("box.example",)) as url:
        assert [status(url, host, "secret") for host in ("box.example", "evil.example")] == [200, 403]
        assert status(url, "box.example", "wrong") == 401
    with serving(*opened, key="secret") as url:
        assert status(url, "evil.example", "secret") == 200, "who has the key is no page of a stranger"
    with serving(*opened, allow_host=("*",)) as url:
        assert status(url, "evil.example") == 200


def preflight(url: str, origin: str) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    headers["access-control-request-headers"] = "authorization,content-type,x-stainless-lang"
    return httpx.options(url + CHAT, headers=headers)


def allowed(answer: httpx.Response) -> str | None:
    return answer.headers.get("access-control-allow-origin")


def test_pages_of_other_origins(opened):
    page = "https://chat.example"
    with serving(*opened) as url:
        assert allowed(preflight(url, page)) is None
        assert allowed(httpx.post(url + CHAT, json=body(max_tokens=1), headers={"origin": page})) is None
    with serving(*opened, key="secret", allow_origin=("https://Chat.example",)) as url:
        first = preflight(url, page)
        assert first.status_code == 200 and allowed(first) == page, "a browser sends no key with it"
        assert "authorization" in first.headers["access-control-allow-headers"].lower()
        for more in ({}, {"stream": True}, {"n": 2}):
            for key, expected in (("secret", 400 if "n" in more else 200), ("wrong", 401)):
                headers = {"origin": page, "authorization": f"Bearer {key}"}
                answer = httpx.post(url + CHAT, json=body(max_tokens=1, **more), headers=headers)
                assert (answer.status_code, allowed(answer)) == (expected, page), "errors can be read as well"
        assert allowed(preflight(url, "https://evil.example")) is None
        assert allowed(httpx.get(f"{url}/health", headers={"origin": "https://evil.example"})) is None
    with serving(*opened, allow_origin=("*",)) as url:
        assert allowed(preflight(url, page)) == "*"
        host = httpx.post(url + CHAT, json=body(), headers={"origin": page, "host": "evil.example"})
        assert host.status_code == 403, "names are checked nevertheless"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"allow_host": ("http://box.example",)}, "--allow-host: http://box.example is no host name"),
        ({"allow_host": ("box.example:80",)}, "--allow-host: box.example:80 is no host name"),
        ({"allow_origin": ("chat.example",)}, "--allow-origin: chat.example is no origin"),
        ({"allow_origin": ("https://chat.example/",)}, "--allow-origin: https://chat.example/ is no origin"),
        ({"reply_format": "raw"}, "--reply-format: Input should be 'answer' or 'text' (given: 'raw')"),
        ({"earlier_turns": "forget"}, "--earlier-turns: Input should be 'rewrite', 'refuse' or 'ignore'"),
        ({"max_body_bytes": 0}, "--max-body-bytes: Input should be greater than or equal to 1"),
    ],
)
def test_settings_that_a_person_got_wrong(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        make_settings(**QUIET | given)
    assert str(error.value).startswith(message)
