"""Export: a PEFT adapter folder and a merged Hugging Face model, each with its card."""

from jora_model.export import CardFacts, export_adapter, merge
from jora_model.settings import ExportSettings
from tasks.cache import stage
from tasks.store import Artifact, Store


def _space(
    store: Store,
    base: Artifact,
    adapter: Artifact,
    dataset: Artifact,
    evaluation: Artifact | None,
    base_model: str,
    export: ExportSettings,
) -> int:
    return adapter.bytes + (base.bytes if export.merged else 0)


@stage(name="export-model", version=1, modules=("jora_model.export",), space=_space)
def export_model(
    store: Store,
    base: Artifact,
    adapter: Artifact,
    dataset: Artifact,
    evaluation: Artifact | None,
    base_model: str,
    export: ExportSettings,
) -> Artifact:
    """`adapter/` for PEFT and, unless switched off, `merged/` for transformers and every server that reads it."""
    table = None
    if evaluation is not None:
        table = (store.path(evaluation) / "summary.md").read_text(encoding="utf-8")
    facts = CardFacts(base_model=base_model, examples=dataset.count("examples"), evaluation=table)
    inputs = tuple(filter(None, (base, adapter, dataset, evaluation)))
    with store.build("export", settings=export, inputs=inputs) as build:
        export_adapter(store.path(adapter), build.folder / "adapter", facts)
        if export.merged:
            limit = export.max_shard_mb * 1_000_000
            merge(store.path(base), store.path(adapter), build.folder / "merged", facts, limit)
    return build.artifact
