"""Small training jobs and their outputs."""

import json
import os
from pathlib import Path

from jora_model.spec.hf_files import ADAPTER_WEIGHTS
from jora_model.spec.job import TrainJob, TrainSettings
from jora_model.spec.settings import LoraSettings

# One layer that tensor parallelism splits by columns, and one by rows.
LORA = LoraSettings(rank=4, alpha=12.0, target_modules=("v_proj", "down_proj"))
SETTINGS = TrainSettings(
    epochs=3,
    examples_per_update=6,
    row_length=64,
    rows_per_microbatch=4,
    learning_rate=1e-2,
    compute_dtype="float32",
    checkpoint_every=2,
)


def without_devices() -> dict[str, str]:
    """Return an environment that sets no number of devices but the same compiler flags, on which bits depend."""
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    return {**os.environ, "XLA_FLAGS": " ".join(flags)}


def job(base: Path, data: Path, folder: Path, validation: Path | None = None, **changes: object) -> TrainJob:
    """A job by SETTINGS with changes: of 24 examples, twelve updates of six."""
    return TrainJob(
        base=str(base),
        base_name="tiny",
        sequences=str(data),
        validation=None if validation is None else str(validation),
        output=str(folder / "out"),
        checkpoints=str(folder / "state"),
        lora=LORA,
        training=SETTINGS.model_copy(update=changes),
    )


def adapter_bytes(folder: Path) -> bytes:
    """Bytes of the weights that a job wrote."""
    return (folder / "out" / ADAPTER_WEIGHTS).read_bytes()


def metrics(folder: Path) -> list[dict]:
    """Return its metrics, a dict for each update."""
    return [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


def summary(folder: Path) -> dict:
    """Its training.json."""
    return json.loads((folder / "out" / "training.json").read_text())
