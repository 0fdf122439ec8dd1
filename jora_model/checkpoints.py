"""Resumable state by Orbax: adapter, optimizer and the number of updates done, which is the data position as well.

Order of examples and dropout follow from the seed and the update's number. What does not follow, such as the best
validation loss so far, stands beside the arrays as `facts`.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

log = logging.getLogger(__name__)

_KEEP = 2


class Restored(NamedTuple):
    """A checkpoint read back: the number of updates done, the arrays, and the facts beside them."""

    updates: int
    state: Any
    facts: dict[str, Any]


class Checkpoints:
    """The last two checkpoints of one job in a folder; a folder of another job is refused."""

    def __init__(self, folder: Path, fingerprint: str):
        """
        Args:
            fingerprint: digest of everything that decides the run; only checkpoints with the same one are used.
        """
        folder = Path(folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / "job.json"
        if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != {"fingerprint": fingerprint}:
            raise ValueError(
                f"{folder} holds checkpoints of another job (other settings or data); name another folder or delete it"
            )
        if not mark.exists():
            fresh = mark.with_suffix(".new")
            fresh.write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
            fresh.replace(mark)  # a kill leaves no half of it
        # Synchronous: an adapter is small, and a save that has returned is a save that survives a kill.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEEP, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder / "states", options=options)

    def save(self, updates: int, state: Any, facts: dict[str, Any] | None = None) -> None:
        """Keep arrays and facts (JSON) after so many updates; atomic (Orbax renames)."""
        facts = facts or {}
        sound = {"facts": facts, "digest": _digest(state, facts)}
        parts = {"state": ocp.args.StandardSave(_named(state)), "sound": ocp.args.JsonSave(sound)}
        self._manager.save(updates, args=ocp.args.Composite(**parts))

    def restore(self, like: Any) -> Restored | None:
        """The newest sound checkpoint, its arrays on the devices of `like`; None where there is none."""
        for updates in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(updates, like)
            except Exception as error:  # a damaged file shows as almost anything
                log.warning(
                    "checkpoint %d is damaged (%s); going back to the one before", updates, type(error).__name__
                )
                self._manager.delete(updates)
        return None

    def _read(self, updates: int, like: Any) -> Restored:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _named(like))
        parts = {"state": ocp.args.StandardRestore(abstract), "sound": ocp.args.JsonRestore()}
        found = self._manager.restore(updates, args=ocp.args.Composite(**parts))
        leaves = [found["state"][name] for name in sorted(found["state"])]
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        facts = found["sound"]["facts"]
        if _digest(state, facts) != found["sound"]["digest"]:
            raise ValueError("the state is not the one that was written")
        return Restored(updates, state, facts)

    def close(self) -> None:
        """Release Orbax's threads."""
        self._manager.close()


def _named(state: Any) -> dict[str, Any]:
    """Leaves by number: independent of the classes that hold them."""
    return {f"{place:05d}": leaf for place, leaf in enumerate(jax.tree.leaves(state))}


def _digest(state: Any, facts: dict[str, Any]) -> str:
    """Orbax notices a file that is cut off, but not every flipped bit."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for leaf in jax.tree.leaves(state):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()
