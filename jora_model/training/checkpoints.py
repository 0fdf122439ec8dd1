"""Checkpoints by Orbax: adapter, optimizer state and the number of finished updates, which is also the data position.

The order of examples and the dropout follow from the seed and the update's number. Other state, such as the best
validation loss so far, is stored beside the arrays as `facts`. Only process 0 reads and writes: the state is small,
gathered on its host, and independent of the sharding.

A checkpoint that cannot be read is set aside only if it is proven to be damaged: its arrays are others than those that
were saved, or its files have other digests than when they were written. Anything else (a disk or network that fails for
a moment, a lack of memory, another version of a library) ends the run, which can be started again; nothing is deleted.
"""

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jora_model.formats.tensor_file import Unreadable
from jora_model.runtime.distributed import from_first, gather, is_first, put
from jora_model.runtime.files import replace_text
from user_error import UserError

log = logging.getLogger(__name__)

_KEEP = 2
_PAUSE = 1.0  # seconds before a checkpoint that could not be read is read again


class _Damaged(Exception):
    """A checkpoint holds other arrays than were saved."""


class Restored(NamedTuple):
    """A restored checkpoint: the number of finished updates, the arrays, and the facts."""

    updates: int
    state: Any
    facts: dict[str, Any]


class Checkpoints:
    """The last two checkpoints of one job; a folder of another job is refused.

    All processes of a run must make the same calls.
    """

    def __init__(self, folder: Path, fingerprint: str):
        """
        Args:
            fingerprint: digest of everything that determines the run.

        Raises:
            UserError: the folder has checkpoints with another fingerprint.
        """
        self._folder = Path(folder).absolute()
        self._manager = _open(self._folder, fingerprint) if is_first() else None

    def save(self, updates: int, state: Any, facts: dict[str, Any] | None = None) -> None:
        """Write arrays and facts (JSON) after this number of updates; atomic, since Orbax renames."""
        facts = facts or {}
        leaves = [gather(leaf) for leaf in jax.tree.leaves(state)]
        if self._manager is None:
            return
        check = {"facts": facts, "digest": _digest(leaves, facts)}
        parts = {"state": ocp.args.StandardSave(_named(leaves)), "sound": ocp.args.JsonSave(check)}
        self._manager.save(updates, args=ocp.args.Composite(**parts))
        sums = self._folder / "sums"
        sums.mkdir(exist_ok=True)
        replace_text(sums / f"{updates}.json", json.dumps(_sums(self._states(updates))))
        kept = {f"{step}.json" for step in self._manager.all_steps()}
        for path in sums.iterdir():
            if path.name not in kept:
                path.unlink()

    def restore(self, like: Any) -> Restored | None:
        """The newest intact checkpoint, its arrays sharded as those of `like`; None without one.

        One that is proven to be damaged is set aside, in the folder `damaged`.

        Raises:
            Unreadable: the newest one cannot be read, and is not proven to be damaged.
        """
        targets, tree = jax.tree.flatten(like)
        shapes = [np.empty(leaf.shape, leaf.dtype) for leaf in targets]
        restored = _unpack(from_first(_pack(self._newest(shapes))), shapes)
        if restored is None:
            return None
        leaves = [put(leaf, target.sharding) for leaf, target in zip(restored.state, targets, strict=True)]
        return restored._replace(state=jax.tree.unflatten(tree, leaves))

    def _newest(self, shapes: list[np.ndarray]) -> Restored | None:
        """The newest intact checkpoint with its arrays on the host; None in all processes but process 0."""
        if self._manager is None:
            return None
        for updates in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(self._manager, updates, shapes)
            except Exception as error:  # Orbax and its libraries raise many types, some of them for any failure
                log.warning("checkpoint %d cannot be read (%s); trying again", updates, _said(error))
            time.sleep(_PAUSE)
            try:
                return self._read(self._manager, updates, shapes)
            except Exception as error:
                proof = str(error) if isinstance(error, _Damaged) else self._proof(updates)
                if proof is None:
                    raise Unreadable(
                        f"checkpoint {self._states(updates)} cannot be read ({_said(error)}), and is not proven to be "
                        "damaged; nothing was deleted: start the run again, or if that does not help, delete this "
                        "folder to go on from the checkpoint before it"
                    ) from error
            aside = self._set_aside(updates)
            log.warning(
                "checkpoint %d is damaged (%s); it is kept as %s, the previous one is used", updates, proof, aside
            )
        return None

    def _states(self, updates: int) -> Path:
        return self._folder / "states" / str(updates)

    def _proof(self, updates: int) -> str | None:
        """What proves that a checkpoint is damaged; None if nothing does."""
        try:
            written = json.loads((self._folder / "sums" / f"{updates}.json").read_text(encoding="utf-8"))
            found = _sums(self._states(updates))
        except (OSError, ValueError):
            return None
        wrong = sorted(name for name in written if found.get(name) != written[name])
        return f"{wrong[0]} is not what was written" if wrong else None

    def _set_aside(self, updates: int) -> Path:
        assert self._manager is not None
        damaged = self._folder / "damaged"
        damaged.mkdir(exist_ok=True)
        number = sum(1 for _ in damaged.iterdir())
        aside = self._states(updates).rename(damaged / f"{updates}-{number}")
        self._manager.reload()
        return aside

    def _read(self, manager: ocp.CheckpointManager, updates: int, shapes: list[np.ndarray]) -> Restored:
        parts = {"state": ocp.args.StandardRestore(_named(shapes)), "sound": ocp.args.JsonRestore()}
        content = manager.restore(updates, args=ocp.args.Composite(**parts))
        leaves = [np.asarray(content["state"][name]) for name in sorted(content["state"])]
        facts = content["sound"]["facts"]
        if _digest(leaves, facts) != content["sound"]["digest"]:
            raise _Damaged("the digest of its arrays is not the stored one")
        return Restored(updates, leaves, facts)

    def close(self) -> None:
        """End Orbax's threads."""
        if self._manager is not None:
            self._manager.close()


def _open(folder: Path, fingerprint: str) -> ocp.CheckpointManager:
    states = folder / "states"
    path, content = folder / "job.json", json.dumps({"fingerprint": fingerprint})
    try:
        states.mkdir(parents=True, exist_ok=True)
        found = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        replace_text(path, content)
        found = content
    except OSError as error:
        raise Unreadable(f"the checkpoints in {folder} cannot be read: {error.strerror}; start the run again") from None
    if found != content:
        raise UserError(
            f"{folder} holds checkpoints of another job (other settings or data); choose another folder or delete it"
        )
    options = ocp.CheckpointManagerOptions(
        max_to_keep=_KEEP,
        # Synchronous: an adapter is small, and once `save` returns the checkpoint survives a kill.
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
        # Otherwise Orbax waits for the other processes.
        create=False,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        ),
    )
    return ocp.CheckpointManager(states, options=options)


def _named(leaves: list[np.ndarray]) -> dict[str, Any]:
    """Leaves by index: independent of the classes of the tree."""
    return {f"{index:05d}": leaf for index, leaf in enumerate(leaves)}


def _digest(leaves: list[np.ndarray], facts: dict[str, Any]) -> str:
    """SHA-256 of arrays and facts. Orbax notices a truncated file, but not every flipped bit."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for leaf in leaves:
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, by its path there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _said(error: Exception) -> str:
    """An error in at most one line of 200 letters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _pack(restored: Restored | None) -> bytes:
    """A line of JSON, then the arrays: the message to the other processes."""
    if restored is None:
        return b"null\n"
    head = json.dumps({"updates": restored.updates, "facts": restored.facts}).encode() + b"\n"
    return head + b"".join(leaf.tobytes() for leaf in restored.state)


def _unpack(content: bytes, shapes: list[np.ndarray]) -> Restored | None:
    end = content.index(b"\n") + 1
    head = json.loads(content[:end])
    if head is None:
        return None
    leaves = []
    for like in shapes:
        leaves.append(np.frombuffer(content, like.dtype, like.size, end).reshape(like.shape))
        end += like.nbytes
    return Restored(head["updates"], leaves, head["facts"])
