"""Cheap checks before the first stage: settings against each other and against the model."""

import json
from contextlib import suppress

from data.critic.settings import check_critic
from data.files.whole_files import mark_used, write_whole
from data.prompting.prompts import PromptFormat
from flows.settings.config import RunConfig
from jora_model.formats import hf_weights
from jora_model.runtime.sharding import check_divisible, check_rows
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import ExportSettings
from jora_model.training.metrics import check_tensorboard
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError

# Upper bound of the tokens of a prompt besides its chunks: wording, question, chat template.
PROMPT_OVERHEAD = 200


def model_facts(store: Store, base: Artifact) -> ModelConfig:
    """Facts of the base model, from config.json and the headers of its weights, or from the header of a GGUF file.

    A GGUF header contains the tokenizer and takes seconds to read, so the result is cached by the file's content.
    """
    if base.kind != "gguf":
        return hf_weights.model_facts(store.path(base))
    kept = store.work_dir / "readings" / f"gguf-{base.digest}.json"
    with suppress(OSError, ValueError):  # not cached yet, or damaged
        facts = ModelConfig.from_hf(json.loads(kept.read_bytes()))
        mark_used(kept)
        return facts
    from jora_model.formats.gguf_files import linked_gguf
    from jora_model.formats.gguf_import import gguf_config

    found = gguf_config(linked_gguf(store.path(base)))
    facts = ModelConfig.from_hf(found)
    write_whole(kept, json.dumps(found))
    return facts


def rounding_note(store: Store, base: Artifact, compute_dtype: str) -> str | None:
    """A sentence about weights of the base model that training rounds; None if it rounds none.

    What is imported from a GGUF file is bfloat16.
    """
    if base.kind == "gguf":
        return None
    return hf_weights.rounding_note(hf_weights.Checkpoint(store.path(base)), compute_dtype)


def check_dataset(config: RunConfig) -> None:
    """Check what a dataset needs.

    Raises:
        UserError: settings contradict each other, or a package is missing.
    """
    from tasks.stages.embedding import check_workers  # imports Prefect, which planning does not need

    check_critic(config.critic)
    check_workers(config.embedding)
    by_teacher = config.critic.round_trip is not None and config.critic.round_trip_by == "teacher"
    if by_teacher and config.teacher.kind == "given":
        raise UserError(
            "critic.round_trip_by=teacher needs a teacher, and teacher.kind is given: set critic.round_trip_by=base, "
            "or teacher.kind to endpoint or local"
        )
    chunk, budget = config.chunking.max_tokens, config.raft.max_tokens
    if chunk + PROMPT_OVERHEAD > budget:
        raise UserError(
            f"context over the budget: one chunk (chunking.max_tokens={chunk}) and about {PROMPT_OVERHEAD} tokens of "
            f"prompt and answer exceed raft.max_tokens={budget}; raise it to {chunk + PROMPT_OVERHEAD} or more"
        )


def check_training(config: RunConfig, model: ModelConfig, evaluates: bool = True) -> None:
    """Check what training needs and, if it follows, the evaluation.

    Raises:
        UserError: the mesh does not divide the model, settings contradict each other, or a package is missing.
    """
    check_divisible(model, config.mesh)
    check_rows(config.training.rows_per_microbatch, config.mesh)
    if config.training.patience is not None and config.split.validation_fraction == 0:
        raise UserError(
            f"training.patience={config.training.patience} needs validation examples; set split.validation_fraction "
            "above 0 or unset training.patience"
        )
    if config.training.tensorboard:
        check_tensorboard()
    budget = config.raft.max_tokens
    if budget > config.training.row_length:
        raise UserError(
            f"raft.max_tokens={budget} exceeds training.row_length={config.training.row_length}, so an example may "
            f"not fit in a row; raise training.row_length to {budget} or lower raft.max_tokens"
        )
    if config.training.row_length > model.max_positions:
        raise _over_the_budget("training.row_length", config.training.row_length, model)
    if not evaluates:
        return
    shown = config.evaluation.top_k
    if config.evaluation.robustness.enabled:
        shown = config.evaluation.robustness.most_chunks(shown)
    asked = shown * config.chunking.max_tokens + PROMPT_OVERHEAD + config.generation.max_new_tokens
    if asked > model.max_positions:
        what = "evaluation.top_k" if shown == config.evaluation.top_k else "evaluation.robustness"
        raise _over_the_budget(what, asked, model)


def _over_the_budget(what: str, length: int, model: ModelConfig) -> UserError:
    return UserError(
        f"context over the budget: {what} needs up to {length} tokens and the model has {model.max_positions} "
        "positions; lower it"
    )


def check_prompts(store: Store, base: Artifact, vocab_size: int, form: PromptFormat) -> None:
    """Check that prompts can be written with a model's tokenizer, and that the model has a row for every token.

    Reading a tokenizer takes seconds, so that a good result is remembered, by the content of the model's files.

    Raises:
        UserError: names the file, the field and what to do.
    """
    kept = store.work_dir / "readings" / f"prompts-{base.digest}.json"
    found = f"{[*form, vocab_size]}"
    with suppress(OSError, ValueError):  # not checked yet, or damaged
        if json.loads(kept.read_bytes()) == found:
            mark_used(kept)
            return
    from tasks.stages.loading import open_tokenizer  # keeps it for the stages

    open_tokenizer(store, base).check(form, vocab_size)
    write_whole(kept, json.dumps(found))


def check_export(store: Store, base: Artifact, model: ModelConfig, export: ExportSettings) -> None:
    """Check that llama.cpp can hold a model and its tokenizer, if GGUF files of them are to be written.

    Reading a tokenizer takes seconds, so that a good result is remembered, by the content of the model's files.

    Raises:
        UserError: says all that is in the way, and the setting that leaves the file out.
    """
    if export.gguf == "none" and export.gguf_lora == "none":
        return
    from jora_model.formats.gguf_facts import facts_of
    from jora_model.formats.gguf_vocabulary import vocabulary_of

    facts_of(model)
    if export.gguf == "none":
        return
    kept = store.work_dir / "readings" / f"gguf-vocabulary-{base.digest}"
    if kept.exists():
        mark_used(kept)
        return
    vocabulary_of(store.path(base), model.vocab_size)
    write_whole(kept, "")


def describe(config: RunConfig, model: ModelConfig) -> str:
    """One line about the model, the adapter and the mesh."""
    from jora_model.spec.parameters import adapter_count, parameter_count

    trained = adapter_count(model, config.lora.rank, config.lora.target_modules, config.lora.use_dora)
    return (
        f"model: {parameter_count(model):,} weights, {model.num_layers} layers, {model.num_heads} query and "
        f"{model.num_kv_heads} key/value heads; adapter: {trained:,} weights (rank {config.lora.rank} on "
        f"{', '.join(config.lora.target_modules)}); {config.mesh.devices} device(s)"
    )
