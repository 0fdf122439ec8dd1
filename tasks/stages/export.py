"""Exports a PEFT adapter, a merged Hugging Face model and a GGUF file, with cards, and verifies them."""

from pathlib import Path
from typing import Any

from data.documents.chunks import Chunk
from data.prompting.prompts import Prompt, PromptStyle, raft_output, raft_prompt
from jora_model.formats.export import CardFacts, Merged, export_adapter, merge
from jora_model.formats.modelfile import modelfile
from jora_model.spec.job import ProbeJob
from jora_model.spec.settings import ExportSettings, parse_size
from tasks.engine.cache import stage
from tasks.engine.jobs import run_job
from tasks.engine.logs import run_log
from tasks.stages.json_files import read_json
from tasks.stages.loading import open_tokenizer
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

# Largest difference of logits from the trained model's, relative to their root mean square: what rounding explains.
# On SmolLM2 rounding to bfloat16 gives 0.023; leaving out an adapter of two updates gives 0.12.
_EXACT, _ROUNDED = 1e-4, 0.05


def _space(
    store: Store,
    base: Artifact,
    adapter: Artifact,
    dataset: Artifact,
    evaluation: Artifact | None,
    base_model: str,
    export: ExportSettings,
    *others: object,
) -> int:
    copies = (export.merged * (2 if export.dtype == "f32" else 1)) + (export.gguf != "none")
    return adapter.bytes * (1 + (export.gguf_lora != "none")) + base.bytes * copies


@stage(name="export-model", version=3, modules=("jora_model.generation.probe",), space=_space)
def export_model(
    store: Store,
    base: Artifact,
    adapter: Artifact,
    dataset: Artifact,
    evaluation: Artifact | None,
    base_model: str,
    export: ExportSettings,
    style: PromptStyle = "chat",
    base_license: str | None = None,
) -> Artifact:
    """Write `adapter/` for PEFT and, by the settings, `merged/` for transformers and, for llama.cpp and Ollama, `gguf/`
    (merged) and `gguf-adapter/` (the adapter alone).

    The files are read back and compared with the trained model; the manifest holds the differences.

    Raises:
        UserError: the logits of the export differ from the trained model's, or the tokenizer cannot be written as
            GGUF, or the adapter not as one.
    """
    inputs = tuple(filter(None, (base, adapter, dataset, evaluation)))
    settings: dict[str, Any] = {"export": export}
    with store.build("export", settings=settings, inputs=inputs) as build:
        # An adapter that is used as it came is measured in bfloat16.
        trained = store.manifest(adapter).settings.get("training", {})
        compute_dtype = trained.get("compute_dtype", "bfloat16")
        merged = Merged(store.path(base), store.path(adapter), export.dtype, compute_dtype)
        facts = _facts(store, base, dataset, evaluation, base_model, export, style, base_license, merged)
        export_adapter(store.path(adapter), build.folder / "adapter", facts)
        bounds = {"adapter": _EXACT}
        if export.merged:
            merge(merged, store.path(base), build.folder / "merged", facts, parse_size(export.shard_size))
            exact = all(size == 4 for size in merged.widths.values())
            bounds["merged"] = _EXACT if exact else _ROUNDED
        if export.gguf != "none":
            settings["gguf_difference"] = _gguf(store, base, build.folder / "gguf", merged, facts, export, style)
        if export.gguf_lora != "none":
            _gguf_lora(store, base, adapter, build.folder / "gguf-adapter", merged, facts, export)
        settings["probe"] = _probe(store, base, adapter, dataset, build.folder, bounds, compute_dtype)
    return build.artifact


def _facts(
    store: Store,
    base: Artifact,
    dataset: Artifact,
    evaluation: Artifact | None,
    base_model: str,
    export: ExportSettings,
    style: PromptStyle,
    base_license: str | None,
    merged: Merged,
) -> CardFacts:
    table = None
    if evaluation is not None:
        table = (store.path(evaluation) / "summary.md").read_text(encoding="utf-8")
    context = [
        _chunk("Title of the first document", "The text of the first document."),
        _chunk("Title of the second document", "The text of the second document."),
    ]
    prompt, answer = open_tokenizer(store, base).written(
        raft_prompt(context, "The question?"),
        raft_output("the answer", ["The sentence, word for word, that proves it."]),
        style,
    )
    return CardFacts(
        base_model=base_model,
        examples=dataset.count("examples"),
        evaluation=table,
        prompt=prompt,
        answer=answer,
        dataset=dataset.digest,
        counts=dataset.counts,
        base_license=base_license,
        data_license=export.data_license,
        max_positions=merged.config.max_positions,
        gguf=None if export.gguf == "none" else _gguf_name(export),
        rounding=merged.rounding,
    )


def _chunk(title: str, text: str) -> Chunk:
    return Chunk("", "", "", 0, len(text), (title,), text)


def _gguf_name(export: ExportSettings) -> str:
    return f"model-{export.gguf}.gguf"


def _gguf(
    store: Store,
    base: Artifact,
    folder: Path,
    merged: Merged,
    facts: CardFacts,
    export: ExportSettings,
    style: PromptStyle,
) -> float:
    """Write the GGUF file and its Modelfile; returns the largest difference of its weights."""
    from jora_model.formats.export import write_gguf_card
    from jora_model.formats.gguf_export import export_gguf, puts_before
    from jora_model.formats.gguf_facts import same_context

    folder.mkdir()
    name = _gguf_name(export)
    tokenizer = open_tokenizer(store, base)
    title = f"{facts.base_model} with a RAFT adapter"
    difference = export_gguf(merged, store.path(base), folder / name, export.gguf, title, facts.base_license)
    mark = "JORATEXT"
    text, _ = tokenizer.written(Prompt("{{ .System }}", mark) if style == "alpaca" else Prompt(mark, ""), "", style)
    before, _, after = text.partition(mark)
    system = raft_prompt([], "").instruction if style == "alpaca" else ""
    end = tokenizer.pieces([tokenizer.end_id(style)])[0]
    bos = puts_before(store.path(base))
    content = modelfile(name, before, after, end, same_context(merged.config), bos, system)
    (folder / "Modelfile").write_text(content, encoding="utf-8")
    write_gguf_card(folder, facts, merged)
    return difference


def _gguf_lora(
    store: Store,
    base: Artifact,
    adapter: Artifact,
    folder: Path,
    merged: Merged,
    facts: CardFacts,
    export: ExportSettings,
) -> None:
    """Write the adapter alone as a GGUF file."""
    from jora_model.formats.export import write_gguf_lora_card
    from jora_model.formats.gguf_lora import export_gguf_lora

    folder.mkdir()
    name = f"adapter-{export.gguf_lora}.gguf"
    title = f"RAFT adapter of {facts.base_model}"
    export_gguf_lora(store.path(adapter), store.path(base), folder / name, export.gguf_lora, title, facts.base_license)
    write_gguf_lora_card(folder, facts, merged, name)


def _probe(
    store: Store,
    base: Artifact,
    adapter: Artifact,
    dataset: Artifact,
    folder: Path,
    bounds: dict[str, float],
    compute_dtype: str,
) -> Any:
    """Compare logits of the export with those of the trained model, in a separate process."""
    job_file, output = folder.with_suffix(".json"), folder.with_suffix(".found")
    job = ProbeJob(
        base=str(store.path(base)),
        adapter=str(store.path(adapter)),
        export=str(folder),
        bounds=bounds,
        compute_dtype=compute_dtype,
        sequences=str(store.path(dataset) / "sequences"),
        output=str(output),
        compilation_cache=str(store.work_dir / "xla"),
    )
    job_file.write_text(job.model_dump_json(indent=1) + "\n", encoding="utf-8")
    try:
        run_job("jora_model.generation.probe", job_file, log=run_log())
        return read_json(output)
    finally:
        job_file.unlink()
        output.unlink(missing_ok=True)
