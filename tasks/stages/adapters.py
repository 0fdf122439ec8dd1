"""Imports foreign PEFT adapters."""

from pathlib import Path

from jora_model.formats import lora
from jora_model.formats.peft_format import PeftAdapter
from jora_model.formats.tensor_file import check_values
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tasks.engine.cache import stage
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@stage(name="snapshot-adapter", version=1, cache=False)
def snapshot_adapter(store: Store, folder: str) -> Artifact:
    """Snapshot a PEFT adapter as links to its two files.

    Raises:
        UserError: it is not a PEFT adapter, has an unsupported feature, or holds NaN.
    """
    source = Path(folder).expanduser()
    PeftAdapter(source)
    check_values(source / ADAPTER_WEIGHTS)
    with store.build("foreign-adapter", settings={"name": folder}) as build:
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            build.link(name, source / name)
    return build.artifact


@stage(name="import-adapter", version=2, space=lambda store, base, foreign: 2 * foreign.bytes)
def import_adapter(store: Store, base: Artifact, foreign: Artifact) -> Artifact:
    """Convert a PEFT adapter to the form that training writes: one rank, one scale, float32.

    Raises:
        UserError: it is not an adapter of this base model.
    """
    with store.build("adapter", inputs=(base, foreign)) as build:
        lora.import_adapter(store.path(foreign), store.path(base), build.folder, "base")
    return build.artifact
