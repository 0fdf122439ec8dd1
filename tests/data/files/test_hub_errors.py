"""What does not exist is refused; what cannot be reached now is tried again by the stages."""

import errno
import socket

import httpx
import pytest
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from data.files.hub_errors import _CLIENTS, is_full, translated
from tasks.store.retries import kind_of
from user_error import Unreachable, UserError


def response(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api"))


def http(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    return kind(f"{status} of\nthe server", response=response(status))


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


AGAIN = {
    "no connection": httpx.ConnectError("refused"),
    "a time-out": httpx.ReadTimeout("slow"),
    "a broken transfer": httpx.RemoteProtocolError("closed"),
    "a proxy": httpx.ProxyError("down"),
    "no name": socket.gaierror(-3, "Temporary failure in name resolution"),
    "no way": OSError(errno.EHOSTUNREACH, "No route to host"),
    "a reset": ConnectionResetError(errno.ECONNRESET, "reset"),
    "a time-out of the system": TimeoutError("slow"),
    "down": http(HfHubHTTPError, 503),
    "too many": http(HfHubHTTPError, 429),
    "not in the cache": because(LocalEntryNotFoundError("not here"), httpx.ConnectError("refused")),
    "down, not in the cache": because(LocalEntryNotFoundError("not here"), http(HfHubHTTPError, 500)),
    "no metadata": FileMetadataError("no size"),
    "as a data set says it": because(ConnectionError("Couldn't reach"), httpx.ConnectTimeout("slow")),
    "switched off": because(LocalEntryNotFoundError("not here"), OfflineModeIsEnabled("offline")),
}


@pytest.mark.parametrize("what", AGAIN)
def test_what_may_succeed_later_is_retried(what: str) -> None:
    found = translated(AGAIN[what], "the embedder a/b", "name another")
    assert isinstance(found, Unreachable) and kind_of(found) == "network"
    assert str(found).startswith("the embedder a/b cannot be fetched (") and "\n" not in str(found)
    check = "unset HF_HUB_OFFLINE" if what == "switched off" else "check the network"
    assert str(found).endswith(f": {check}, or name another")


NEVER = {
    "nowhere": (http(RepositoryNotFoundError, 404), "there is no embedder a/b on huggingface.co: name another"),
    "no name": (HFValidationError("bad id"), "there is no embedder a/b on huggingface.co: name another"),
    "no revision": (
        http(RevisionNotFoundError, 404),
        "the embedder a/b has no such revision on huggingface.co",
    ),
    "gated": (http(GatedRepoError, 403), "the embedder a/b needs permission on huggingface.co: set HF_TOKEN, or name"),
    "a bad token": (http(HfHubHTTPError, 401), "the embedder a/b cannot be fetched (401 of the server): name another"),
    "no right": (PermissionError(errno.EACCES, "Permission denied"), "the embedder a/b cannot be fetched ("),
    "as a data set says it": (
        because(FileNotFoundError("Dataset 'a/b' doesn't exist"), http(RepositoryNotFoundError, 404)),
        "there is no embedder a/b on huggingface.co",
    ),
}


@pytest.mark.parametrize("what", NEVER)
def test_what_does_not_exist_is_refused(what: str) -> None:
    error, said = NEVER[what]
    found = translated(error, "the embedder a/b", "name another")
    assert isinstance(found, UserError) and kind_of(found) is None
    assert str(found).startswith(said) and "\n" not in str(found)


def test_what_is_of_this_machine_stays_what_it_is() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = because(LocalEntryNotFoundError("not here"), full)
    for error in (full, wrapped, RuntimeError("a fault"), KeyError("x")):
        assert translated(error, "the embedder a/b", "name another") is error
    assert is_full(full) and is_full(wrapped) and not is_full(OSError("else"))


def test_the_hubs_own_client_is_known() -> None:
    """It has its own copy of httpx, whose errors are no system errors."""
    client = {kind.__module__.split(".")[0] for kind in HfHubHTTPError.__mro__} - {"huggingface_hub", "builtins"}
    assert client and client <= set(_CLIENTS)
