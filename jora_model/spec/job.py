"""Job files: what a process of its own needs to train or to generate. JSON; no JAX here."""

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jora_model.spec.settings import GenerationSettings, LoraSettings, MeshSettings, Remat
from user_error import UserError

Job = TypeVar("Job", bound=BaseModel)


class TrainSettings(BaseModel):
    """How the adapter is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(3, ge=1, description="How often every example is seen.")
    examples_per_update: int = Field(16, ge=1, description="Examples of one optimizer update, whatever the packing.")
    learning_rate: float = Field(4e-4, gt=0, description="Peak learning rate of AdamW.")
    lora_plus_ratio: float = Field(
        1.0, ge=1, description="The adapter's B learns at this multiple of the rate (LoRA+, arXiv 2402.12354)."
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="What the rate does after its rise: falls to zero as a cosine or a line, or stays."
    )
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description="Share of the updates over which the rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay, on the adapter.")
    clip_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this global norm.")
    row_length: int = Field(2048, ge=32, description="Tokens of a packed row; compute and memory are planned for it.")
    rows_per_microbatch: int = Field(1, ge=1, description="Rows of one forward and backward pass.")
    remat: Remat = Field(
        "full",
        description="What the backward pass computes again instead of keeping it: all of a layer but its attention "
        '("full", least memory), what lies between the products ("dots"), or nothing ("none").',
    )
    compute_dtype: Literal["bfloat16", "float32"] = Field("bfloat16", description="Dtype of the products' operands.")
    max_updates: int | None = Field(None, ge=1, description="Stop after this many updates; the schedule ends there.")
    checkpoint_every: int = Field(5, ge=1, description="Updates between two checkpoints.")
    validate_every: int = Field(
        10, ge=1, description="Updates between two losses on the validation examples, where there are some."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after so many validation losses in a row that are no new lowest."
    )
    keep_best: bool = Field(
        True, description="With validation examples: the adapter of the lowest validation loss, not the last one."
    )
    tensorboard: bool = Field(False, description="Also write the metrics as TensorBoard event files.")
    profile: int = Field(0, ge=0, description="Trace this many updates with JAX's profiler, after the first.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the adapter's start, the order of examples and dropout.")


class TrainJob(BaseModel):
    """A training run, complete: the same file gives the same adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="Hugging Face folder of the base model.")
    base_name: str = Field(description="What the adapter's config calls its base.")
    sequences: str = Field(description="Folder with sequences.safetensors and sequences.json.")
    validation: str | None = Field(None, description="Such a folder of held-out examples, or none.")
    start_from: str | None = Field(None, description="PEFT adapter that training goes on from, or none.")
    output: str = Field(description="Folder for adapter, metrics and loss curve.")
    checkpoints: str = Field(description="Folder for resumable state.")
    compilation_cache: str | None = Field(None, description="Folder of XLA's persistent cache.")
    lora: LoraSettings = LoraSettings()
    mesh: MeshSettings = MeshSettings()
    training: TrainSettings = TrainSettings()


class GenerateJob(BaseModel):
    """Answers to a folder of prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="Hugging Face folder of the base model.")
    adapter: str | None = Field(None, description="Folder of a PEFT adapter, or none for the base model itself.")
    prompts: str = Field(description="Folder with prompts.safetensors and prompts.json.")
    grammars: str | None = Field(None, description="File of the grammars that the answers are held to, or none.")
    output: str = Field(description="Folder for answers.safetensors and answers.json.")
    end_ids: tuple[int, ...] = Field(description="Tokens that end an answer.")
    compilation_cache: str | None = Field(None, description="Folder of XLA's persistent cache.")
    compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    generation: GenerationSettings = GenerationSettings()


class ProbeJob(BaseModel):
    """An export that is to give the logits of the trained model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="Hugging Face folder of the base model.")
    adapter: str = Field(description="Folder of the trained adapter.")
    export: str = Field(description="Folder with the parts to be compared.")
    bounds: dict[str, float] = Field(description="Part (adapter, merged) -> how far its logits may be off, a share.")
    sequences: str = Field(description="Folder of sequences, whose first one is the probe.")
    tokens: int = Field(256, ge=1, description="Of the probe, at most.")
    output: str = Field(description="File for what was found, JSON.")
    compilation_cache: str | None = Field(None, description="Folder of XLA's persistent cache.")


def read_job(path: Path, kind: type[Job]) -> Job:
    """Read a job file.

    Raises:
        UserError: it is missing, no JSON, or has a wrong or unknown field (named).
    """
    try:
        return kind.model_validate_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"no job file {path}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"job file {path}: {where}: {first['msg']}") from None
