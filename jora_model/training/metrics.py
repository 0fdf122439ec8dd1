"""Metrics of a run: metrics.jsonl, a line per update, and on request event files for TensorBoard."""

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from jora_model.runtime.files import replace_text
from user_error import UserError

# Metric -> TensorBoard's tag; tags with the same group are shown together.
_TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "learning_rate": "optimizer/learning_rate",
    "gradient_norm": "optimizer/gradient_norm",
    "example_tokens_per_second": "speed/example_tokens_per_second",
    "answer_tokens_per_second": "speed/answer_tokens_per_second",
}


class Metrics:
    """Writer of a run's metrics, a context manager; the metrics of a resumed run are continued."""

    def __init__(self, folder: Path, updates: int, tensorboard: bool):
        """
        Args:
            updates: number of finished updates; lines of later ones are dropped, since those updates run again.
        """
        self._path = folder / "metrics.jsonl"
        kept = _kept_lines(self._path, updates)
        replace_text(self._path, "".join(kept))
        self._board = None
        if tensorboard:
            # Event files are append-only, so the kept lines are written to new ones.
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
        """Append the metrics of one update and flush."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board:
            self._board.write(line)

    def sync(self) -> None:
        """Sync the file to disk; called before a checkpoint, which relies on the lines so far."""
        os.fsync(self._file.fileno())


class NoMetrics:
    """Metrics of a process other than process 0: writes nothing."""

    def __enter__(self) -> "NoMetrics":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, line: Mapping[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""


def check_tensorboard() -> None:
    """Check that the package tensorboard is installed.

    Raises:
        UserError: it is not; the message has the command that installs it.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "training.tensorboard needs the package tensorboard, which is not installed; run `pip install tensorboard` "
            "or leave the setting out"
        )


class _Board:
    """Event files by TensorBoard's own writer, which imports neither TensorFlow nor torch."""

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
    """Lines up to this update, without one that a kill truncated."""
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(text)
        except json.JSONDecodeError:
            break
        if row["update"] <= updates:
            kept.append(text + "\n")
    return kept
