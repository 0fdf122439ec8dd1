"""Resumable state by Orbax: adapter, optimizer and the number of updates done, which is the data position as well.

Order of examples and dropout follow from the seed and the update's number. What does not follow, such as the best
validation loss so far, stands beside the arrays as `facts`. Of several processes, process 0 alone reads and writes: the
state is small, whole on its host, and independent of who holds which part.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jora_model.runtime.distributed import from_first, is_first, put, whole
from user_error import UserError

log = logging.getLogger(__name__)

_KEEP = 2


class Restored(NamedTuple):
    """A checkpoint read back: the number of updates done, the arrays, and the facts beside them."""

    updates: int
    state: Any
    facts: dict[str, Any]


class Checkpoints:
    """The last two checkpoints of one job in a folder; a folder of another job is refused.

    Of several processes, all must make the same calls.
    """

    def __init__(self, folder: Path, fingerprint: str):
        """
        Args:
            fingerprint: digest of everything that decides the run; only checkpoints with the same one are used.
        """
        self._manager = _open(Path(folder).absolute(), fingerprint) if is_first() else None

    def save(self, updates: int, state: Any, facts: dict[str, Any] | None = None) -> None:
        """Keep arrays and facts (JSON) after so many updates; atomic (Orbax renames)."""
        facts = facts or {}
        leaves = [whole(leaf) for leaf in jax.tree.leaves(state)]
        if self._manager is None:
            return
        sound = {"facts": facts, "digest": _digest(leaves, facts)}
        parts = {"state": ocp.args.StandardSave(_named(leaves)), "sound": ocp.args.JsonSave(sound)}
        self._manager.save(updates, args=ocp.args.Composite(**parts))

    def restore(self, like: Any) -> Restored | None:
        """The newest sound checkpoint, its arrays on the devices of `like`; None where there is none."""
        places, tree = jax.tree.flatten(like)
        shapes = [np.empty(leaf.shape, leaf.dtype) for leaf in places]
        found = _unpack(from_first(_pack(self._newest(shapes))), shapes)
        if found is None:
            return None
        leaves = [put(leaf, place.sharding) for leaf, place in zip(found.state, places, strict=True)]
        return found._replace(state=jax.tree.unflatten(tree, leaves))

    def _newest(self, shapes: list[np.ndarray]) -> Restored | None:
        """On the host, in process 0."""
        if self._manager is None:
            return None
        for updates in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(self._manager, updates, shapes)
            except Exception as error:  # a damaged file shows as almost anything
                log.warning(
                    "checkpoint %d is damaged (%s); going back to the one before", updates, type(error).__name__
                )
                self._manager.delete(updates)
        return None

    def _read(self, manager: ocp.CheckpointManager, updates: int, shapes: list[np.ndarray]) -> Restored:
        parts = {"state": ocp.args.StandardRestore(_named(shapes)), "sound": ocp.args.JsonRestore()}
        found = manager.restore(updates, args=ocp.args.Composite(**parts))
        leaves = [np.asarray(found["state"][name]) for name in sorted(found["state"])]
        facts = found["sound"]["facts"]
        if _digest(leaves, facts) != found["sound"]["digest"]:
            raise UserError("the state is not the one that was written")
        return Restored(updates, leaves, facts)

    def close(self) -> None:
        """Release Orbax's threads."""
        if self._manager is not None:
            self._manager.close()


def _open(folder: Path, fingerprint: str) -> ocp.CheckpointManager:
    states = folder / "states"
    states.mkdir(parents=True, exist_ok=True)
    mark = folder / "job.json"
    if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != {"fingerprint": fingerprint}:
        raise UserError(
            f"{folder} holds checkpoints of another job (other settings or data); name another folder or delete it"
        )
    if not mark.exists():
        fresh = mark.with_suffix(".new")
        fresh.write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
        fresh.replace(mark)  # a kill leaves no half of it
    options = ocp.CheckpointManagerOptions(
        max_to_keep=_KEEP,
        # Synchronous: an adapter is small, and a save that has returned is a save that survives a kill.
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
        # Else Orbax waits for the other processes.
        create=False,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        ),
    )
    return ocp.CheckpointManager(states, options=options)


def _named(leaves: list[np.ndarray]) -> dict[str, Any]:
    """Leaves by number: independent of the classes that hold them."""
    return {f"{place:05d}": leaf for place, leaf in enumerate(leaves)}


def _digest(leaves: list[np.ndarray], facts: dict[str, Any]) -> str:
    """Orbax notices a file that is cut off, but not every flipped bit."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for leaf in leaves:
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _pack(found: Restored | None) -> bytes:
    """For the way to the other processes: a line of JSON, then the arrays."""
    if found is None:
        return b"null\n"
    head = json.dumps({"updates": found.updates, "facts": found.facts}).encode() + b"\n"
    return head + b"".join(leaf.tobytes() for leaf in found.state)


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
