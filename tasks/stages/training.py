"""Stages that train adapters, each as a job in a separate process."""

import shutil
from pathlib import Path

from jora_model.spec.config import ModelConfig
from jora_model.spec.job import TrainJob, TrainSettings
from jora_model.spec.parameters import adapter_count
from jora_model.spec.settings import LoraSettings, MeshSettings
from tasks.engine.cache import stage
from tasks.engine.jobs import run_job
from tasks.engine.logs import run_log
from tasks.engine.progress import Progress
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

# float32: three checkpoints (one being written), each with both moments, and two copies of the adapter.
_BYTES_A_WEIGHT = 4 * (3 * 3 + 2)


# Its code is not part of the key (see below); the versions of its libraries are.
_JOB = ("jora_model.training.train",)


def _space(
    store: Store, base: Artifact, dataset: Artifact, lora: LoraSettings, mesh: MeshSettings, training: TrainSettings
) -> int:
    model = ModelConfig.read(store.path(base))
    return _BYTES_A_WEIGHT * adapter_count(model, lora.rank, lora.target_modules, lora.use_dora)


# An unrelated edit must not discard hours of training: `version` stands for the code; raise it when training changes.
@stage(name="train-adapter", version=4, modules=_JOB, code_digest=False, retries=1, space=_space)
def train_adapter(
    store: Store, base: Artifact, dataset: Artifact, lora: LoraSettings, mesh: MeshSettings, training: TrainSettings
) -> Artifact:
    """Train the adapter. After a crash or kill it resumes from the last checkpoint, with the same resulting bytes.

    Raises:
        UserError: a setting does not fit the model, the loss is not finite, or an example is longer than a row.
    """
    scratch = train_adapter.scratch(store, base, dataset, lora, mesh, training)
    return _train(store, scratch, base, None, dataset, lora, mesh, training)


# Separate from `train_adapter`, so that its keys stay as they are.
@stage(
    name="continue-adapter",
    version=1,
    modules=_JOB,
    code_digest=False,
    retries=1,
    space=lambda store, base, start, *others: _space(store, base, *others),
)
def continue_adapter(
    store: Store,
    base: Artifact,
    start: Artifact,
    dataset: Artifact,
    lora: LoraSettings,
    mesh: MeshSettings,
    training: TrainSettings,
) -> Artifact:
    """Continue the training of an adapter.

    Raises:
        UserError: as `train_adapter`; the adapter's rank, alpha or targets differ from `lora`.
    """
    scratch = continue_adapter.scratch(store, base, start, dataset, lora, mesh, training)
    return _train(store, scratch, base, start, dataset, lora, mesh, training)


@stage(name="train-plain-adapter", version=2, modules=_JOB, code_digest=False, retries=1, space=_space)
def train_plain_adapter(
    store: Store, base: Artifact, dataset: Artifact, lora: LoraSettings, mesh: MeshSettings, training: TrainSettings
) -> Artifact:
    """Train on a dataset without documents (DSF), for a rung of the evaluation. It is not exported."""
    scratch = train_plain_adapter.scratch(store, base, dataset, lora, mesh, training)
    return _train(store, scratch, base, None, dataset, lora, mesh, training)


def _train(
    store: Store,
    scratch: Path,
    base: Artifact,
    start: Artifact | None,
    dataset: Artifact,
    lora: LoraSettings,
    mesh: MeshSettings,
    training: TrainSettings,
) -> Artifact:
    output = scratch / "output"
    held_out = store.path(dataset) / "validation" / "sequences"
    job = TrainJob(
        base=str(store.path(base)),
        base_name="base",  # export sets the name; the weights do not depend on it
        sequences=str(store.path(dataset) / "sequences"),
        validation=str(held_out) if held_out.is_dir() else None,
        start_from=None if start is None else str(store.path(start)),
        output=str(output),
        checkpoints=str(scratch / "checkpoints"),
        compilation_cache=str(store.work_dir / "xla"),
        lora=lora,
        mesh=mesh,
        training=training,
    )
    job_file = scratch / "job.json"
    job_file.write_text(job.model_dump_json(indent=1) + "\n", encoding="utf-8")
    run_job(
        "jora_model.training.train", job_file, log=run_log(), progress=Progress("training", "updates of the training")
    )
    settings = {"lora": lora, "mesh": mesh, "training": training}
    with store.build("adapter", settings=settings, inputs=tuple(filter(None, (base, start, dataset)))) as build:
        shutil.copytree(output, build.folder, dirs_exist_ok=True)
        build.count(examples=dataset.count("examples"))
    return build.artifact
