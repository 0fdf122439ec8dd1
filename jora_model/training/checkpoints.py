"""Checkpoints by Orbax: adapter, optimizer state and the number of finished updates, which is also the data position.

The order of examples and the dropout follow from the seed and the update's number. Other state, such as the best
validation loss so far, is stored beside the arrays as `facts`. Only process 0 reads and writes: the state is small,
gathered on its host, and independent of the sharding.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jora_model.runtime.distributed import from_first, gather, is_first, put
from jora_model.runtime.files import replace_text
from user_error import UserError

log = logging.getLogger(__name__)

_KEEP = 2


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
        self._manager = _open(Path(folder).absolute(), fingerprint) if is_first() else None

    def save(self, updates: int, state: Any, facts: dict[str, Any] | None = None) -> None:
        """Write arrays and facts (JSON) after this number of updates; atomic, since Orbax renames."""
        facts = facts or {}
        leaves = [gather(leaf) for leaf in jax.tree.leaves(state)]
        if self._manager is None:
            return
        check = {"facts": facts, "digest": _digest(leaves, facts)}
        parts = {"state": ocp.args.StandardSave(_named(leaves)), "sound": ocp.args.JsonSave(check)}
        self._manager.save(updates, args=ocp.args.Composite(**parts))

    def restore(self, like: Any) -> Restored | None:
        """The newest intact checkpoint, its arrays sharded as those of `like`; None without one."""
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
            except Exception as error:  # Orbax and its libraries raise many types for a damaged file
                log.warning("checkpoint %d is damaged (%s); using the previous one", updates, type(error).__name__)
                self._manager.delete(updates)
        return None

    def _read(self, manager: ocp.CheckpointManager, updates: int, shapes: list[np.ndarray]) -> Restored:
        parts = {"state": ocp.args.StandardRestore(_named(shapes)), "sound": ocp.args.JsonRestore()}
        content = manager.restore(updates, args=ocp.args.Composite(**parts))
        leaves = [np.asarray(content["state"][name]) for name in sorted(content["state"])]
        facts = content["sound"]["facts"]
        if _digest(leaves, facts) != content["sound"]["digest"]:
            raise ValueError("the digest of the arrays is not the stored one")
        return Restored(updates, leaves, facts)

    def close(self) -> None:
        """End Orbax's threads."""
        if self._manager is not None:
            self._manager.close()


def _open(folder: Path, fingerprint: str) -> ocp.CheckpointManager:
    states = folder / "states"
    states.mkdir(parents=True, exist_ok=True)
    path, content = folder / "job.json", json.dumps({"fingerprint": fingerprint})
    if not path.exists():
        replace_text(path, content)
    elif path.read_text(encoding="utf-8") != content:
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
