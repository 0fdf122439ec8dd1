"""Job files (JSON): all that a separate process needs to train or to generate. No JAX here."""

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jora_model.spec.settings import GenerationSettings, LoraSettings, MeshSettings, Remat
from user_error import UserError

Job = TypeVar("Job", bound=BaseModel)


class TrainSettings(BaseModel):
    """Training of the adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(3, ge=1, description="Number of passes over the examples.")
    examples_per_update: int = Field(16, ge=1, description="Examples per optimizer update, whatever the packing.")
    learning_rate: float = Field(4e-4, gt=0, description="Peak learning rate of AdamW.")
    lora_plus_ratio: float = Field(
        1.0, ge=1, description="Learning rate of B as a multiple of the rate (LoRA+, arXiv 2402.12354)."
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="Learning rate after the warm-up: cosine or linear decay to zero, or constant."
    )
    warmup_fraction: float = Field(
        0.05, ge=0, lt=1, description="Fraction of the updates with linear warm-up; 0 for none."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay, on the adapter.")
    clip_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this global norm.")
    row_length: int = Field(2048, ge=32, description="Tokens per packed row; determines compute and memory.")
    rows_per_microbatch: int = Field(1, ge=1, description="Rows per forward and backward pass.")
    remat: Remat = Field(
        "full",
        description="What the backward pass recomputes instead of keeping: all of a layer except attention "
        '("full", least memory), everything between matrix products ("dots"), or nothing ("none").',
    )
    compute_dtype: Literal["bfloat16", "float32"] = Field("bfloat16", description="Dtype of the products' operands.")
    max_updates: int | None = Field(None, ge=1, description="Stop after this many updates; the schedule ends there.")
    checkpoint_every: int = Field(5, ge=1, description="Updates between checkpoints.")
    validate_every: int = Field(
        10, ge=1, description="Updates between validation losses, if there are validation examples."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many validation losses in a row without a new minimum."
    )
    keep_best: bool = Field(
        True,
        description="With validation examples: keep the adapter of the lowest validation loss, not the last.",
    )
    tensorboard: bool = Field(False, description="Also write the metrics as TensorBoard event files.")
    profile: int = Field(0, ge=0, description="Trace this many updates with JAX's profiler, starting after the first.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of initialization, order of examples and dropout.")


class TrainJob(BaseModel):
    """A complete training run: the same file gives the same adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="Hugging Face folder of the base model.")
    base_name: str = Field(description="Name of the base in the adapter's config.")
    sequences: str = Field(description="Folder with sequences.safetensors and sequences.json.")
    validation: str | None = Field(None, description="Folder of held-out sequences, or none.")
    start_from: str | None = Field(None, description="PEFT adapter to continue training from, or none.")
    output: str = Field(description="Folder for adapter, metrics and loss curve.")
    checkpoints: str = Field(description="Folder for resumable state.")
    compilation_cache: str | None = Field(None, description="Folder of XLA's persistent cache.")
    lora: LoraSettings = LoraSettings()
    mesh: MeshSettings = MeshSettings()
    training: TrainSettings = TrainSettings()


class GenerateJob(BaseModel):
    """Generation of answers to a folder of prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="Hugging Face folder of the base model.")
    adapter: str | None = Field(None, description="Folder of a PEFT adapter, or none for the base model.")
    prompts: str = Field(description="Folder with prompts.safetensors and prompts.json.")
    grammars: str | None = Field(None, description="File of the grammars that constrain the answers, or none.")
    output: str = Field(description="Folder for answers.safetensors and answers.json.")
    end_ids: tuple[int, ...] = Field(description="Tokens that end an answer.")
    control_ids: tuple[int, ...] = Field((), description="Added tokens that are no text: a grammar allows none.")
    compilation_cache: str | None = Field(None, description="Folder of XLA's persistent cache.")
    compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    generation: GenerationSettings = GenerationSettings()


class ProbeJob(BaseModel):
    """A comparison of an export's logits with those of the trained model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="Hugging Face folder of the base model.")
    adapter: str = Field(description="Folder of the trained adapter.")
    export: str = Field(description="Folder of the exported parts.")
    bounds: dict[str, float] = Field(description="Part (adapter, merged) -> maximum relative error of its logits.")
    compute_dtype: Literal["bfloat16", "float32"] = Field(
        "float32", description="Dtype of the training; float16 weights were rounded to bfloat16."
    )
    sequences: str = Field(description="Folder of sequences; the first one is the probe.")
    tokens: int = Field(256, ge=1, description="Maximum number of the probe's tokens.")
    output: str = Field(description="JSON file of the result.")
    compilation_cache: str | None = Field(None, description="Folder of XLA's persistent cache.")


def read_job(path: Path, kind: type[Job]) -> Job:
    """Return the job in a file.

    Raises:
        UserError: the file is missing or not JSON, or has an invalid or unknown field (named).
    """
    try:
        return kind.model_validate_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"job file {path} does not exist") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"job file {path}: {where}: {first['msg']}") from None
