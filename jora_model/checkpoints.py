"""Resumable state by Orbax: adapter, optimizer and the number of updates done, which is the data position as well.

Order of examples and dropout follow from the seed and the update's number, so nothing else needs to be kept.
"""

import json
import logging
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

log = logging.getLogger(__name__)

_KEEP = 2


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
        mark.write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
        # Synchronous: an adapter is small, and a save that has returned is a save that survives a kill.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEEP, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder / "states", options=options)

    def save(self, updates: int, state: Any) -> None:
        """Keep the state after so many updates; atomic (Orbax renames)."""
        self._manager.save(updates, args=ocp.args.StandardSave(_named(state)))

    def restore(self, like: Any) -> tuple[int, Any] | None:
        """The newest sound state and its number of updates, on the devices of `like`; None where there is none."""
        for updates in sorted(self._manager.all_steps(), reverse=True):
            try:
                abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _named(like))
                restored = self._manager.restore(updates, args=ocp.args.StandardRestore(abstract))
            except Exception as error:  # a damaged file shows as almost anything
                log.warning(
                    "checkpoint %d is damaged (%s); going back to the one before", updates, type(error).__name__
                )
                self._manager.delete(updates)
                continue
            leaves = [restored[name] for name in sorted(restored)]
            return updates, jax.tree.unflatten(jax.tree.structure(like), leaves)
        return None

    def close(self) -> None:
        """Release Orbax's threads."""
        self._manager.close()


def _named(state: Any) -> dict[str, Any]:
    """Leaves by number: independent of the classes that hold them."""
    return {f"{place:05d}": leaf for place, leaf in enumerate(jax.tree.leaves(state))}
