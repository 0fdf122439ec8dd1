"""What a failed look-up on Hugging Face's hub means: something is not there, or cannot be reached now."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from user_error import Unreachable, UserError

# Packages whose exceptions are of the network, unless they have a status.
_CLIENTS = ("httpx", "httpx2", "httpcore", "requests", "urllib3", "aiohttp")
# Statuses that another attempt may not have; 5xx are too.
_AGAIN = (408, 425, 429)
# System errors that last until a person acts.
_LASTING = (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)


def translated(error: Exception, what: str, advice: str) -> Exception:
    """The exception to raise instead of what the hub's libraries raise.

    Args:
        what: what was looked up, for a person: "the embedder owner/name".
        advice: what to do instead, for a person.

    Returns:
        UserError where it does not exist or may not be read; Unreachable where another attempt may succeed; the error
        itself where it is of this machine, such as a full disk, or is not known here.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    line = " ".join(str(error).split())[:300] or type(error).__name__
    chain = list(_chain(error))
    if is_full(error):
        return error
    for kind, said in (
        (GatedRepoError, f"{what} needs permission on huggingface.co: set HF_TOKEN, or {advice}"),
        (RevisionNotFoundError, f"{what} has no such revision on huggingface.co: name a commit, a tag or a branch"),
        (RepositoryNotFoundError, f"there is no {what.removeprefix('the ')} on huggingface.co: {advice}"),
        (HFValidationError, f"there is no {what.removeprefix('the ')} on huggingface.co: {advice}"),
    ):
        if any(isinstance(one, kind) for one in chain):
            return UserError(said)
    statuses = [status for one in chain if isinstance(status := _status(one), int)]
    if statuses and statuses[0] < 500 and statuses[0] not in _AGAIN:
        return UserError(f"{what} cannot be fetched ({line}): {advice}")
    if isinstance(error, _LASTING):
        return UserError(f"{what} cannot be fetched ({line}): correct that, or {advice}")
    if statuses or any(_is_of_the_network(one) or isinstance(one, LocalEntryNotFoundError) for one in chain):
        offline = any(isinstance(one, OfflineModeIsEnabled) for one in chain)
        check = "unset HF_HUB_OFFLINE" if offline else "check the network"
        return Unreachable(f"{what} cannot be fetched ({line}): {check}, or {advice}")
    return error


def is_full(error: BaseException) -> bool:
    """Whether the cause is a full disk or quota."""
    return any(isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> object:
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_of_the_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return True
    if isinstance(error, OSError) and error.errno in (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH):
        return True
    names = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(names.intersection(_CLIENTS)) or type(error).__name__ in ("XetDownloadError", "FileMetadataError")
