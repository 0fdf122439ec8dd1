"""What a run tells as it goes: metrics.jsonl, a line for each update, and on request event files for TensorBoard."""

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from user_error import UserError

# Metric -> TensorBoard's tag; two with one group are drawn side by side.
_TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "learning_rate": "optimizer/learning_rate",
    "gradient_norm": "optimizer/gradient_norm",
    "example_tokens_per_second": "speed/example_tokens_per_second",
    "answer_tokens_per_second": "speed/answer_tokens_per_second",
}


class Metrics:
    """The metrics of one run, opened as a context manager; those of a run that goes on are continued."""

    def __init__(self, folder: Path, updates: int, tensorboard: bool):
        """
        Args:
            updates: how many are done; lines of later ones are dropped, for they are done again.
        """
        self._path = folder / "metrics.jsonl"
        kept = _kept_lines(self._path, updates)
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(kept), encoding="utf-8")
        fresh.replace(self._path)
        self._board = None
        if tensorboard:
            # Event files can only grow, so what was kept is written again.
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
            self._board = _Board(folder / "tensorboard")
            for line in kept:
                self._board.write(json.loads(line))

    def __enter__(self) -> "Metrics":
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board:
            self._board.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Add the metrics of one update; others can read them at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board:
            self._board.write(line)

    def sync(self) -> None:
        """The lines so far survive a crash of the machine; before a checkpoint that counts on them."""
        os.fsync(self._file.fileno())


class NoMetrics:
    """Of a process that leaves the telling to another."""

    def __enter__(self) -> "NoMetrics":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, line: Mapping[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""


def check_tensorboard() -> None:
    """Raises:
    UserError: the package is not installed; with the command that installs it.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "training.tensorboard needs the package tensorboard, which is not installed; run `pip install tensorboard` "
            "or leave the setting out"
        )


class _Board:
    """TensorBoard's event files, by TensorBoard's own writer: it imports neither TensorFlow nor torch."""

    def __init__(self, folder: Path):
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def write(self, line: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=line[name]) for name, tag in _TAGS.items() if name in line]
        self._writer.add_event(Event(wall_time=time.time(), step=line["update"], summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _kept_lines(path: Path, updates: int) -> list[str]:
    """Without those of updates that are done again, and without one that a kill cut off."""
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(text)
        except json.JSONDecodeError:
            break
        if row["update"] <= updates:
            kept.append(text + "\n")
    return kept
