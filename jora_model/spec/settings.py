"""Settings of adapter, mesh, export and generation. No JAX here, so that the command line starts fast."""

import math
import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jora_model.spec.architecture import ATTENTION, MLP
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, PRESETS, targets_of
from user_error import UserError

ExportDtype = Literal["base", "bf16", "f32"]
GgufKind = Literal["none", "f16", "bf16", "q8_0"]
GgufLoraKind = Literal["none", "f16", "f32"]
Remat = Literal["none", "dots", "full"]
# The linears of most architectures, in the order of the layer.
ALL_LINEAR = (*ATTENTION, *MLP)
_NAMES = (*PRESETS, *LINEAR_BY_NAME)

# Below it sampling equals argmax, and logits divided by it may overflow.
LOWEST_TEMPERATURE = 1e-3

_UNITS = {"GB": 10**9, "GIB": 2**30, "MB": 10**6, "MIB": 2**20}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|GiB|MB|MiB)", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as 24GB (10^9) or 24GiB (2^30).

    Raises:
        UserError: the text is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise UserError("write it as 24GB, 24GiB, 500MB or 500MiB")
    return round(float(match[1]) * _UNITS[match[2].upper()])


class LoraSettings(BaseModel):
    """Low-rank adapters (arXiv 2106.09685), with PEFT's names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(16, ge=1, description="Rank of the adapter.")
    alpha: float = Field(32.0, gt=0, description="The adapter's output is multiplied by alpha / rank.")
    use_rslora: bool = Field(
        False, description="Multiply by alpha / sqrt(rank) instead (rank-stabilized LoRA, arXiv 2312.03732)."
    )
    use_dora: bool = Field(
        False,
        description="Also train the length of each row of the adapted weights (DoRA, arXiv 2402.09353); slower.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input, in training only.")
    target_modules: tuple[str, ...] = Field(
        ("qv",),
        description=f"Linear layers that get an adapter: {', '.join(PRESETS)}, which every model has, or any of "
        f"{', '.join(LINEAR_BY_NAME)}.",
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, list | tuple):
            unknown = [name for name in value if name not in _NAMES]
            if unknown or not value:
                raise UserError(
                    f"target_modules {', '.join(map(str, unknown)) or '(none)'} match no layer; "
                    f"allowed are {', '.join(PRESETS)}, or linears such as q_proj"
                )
            # In the model's order, so that equal sets are equal settings.
            return tuple(name for name in _NAMES if name in value)
        return value

    @property
    def scale(self) -> float:
        """The factor on B(A(x)); computed only here."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)

    def of_model(self, config: ModelConfig) -> Self:
        """Return the same with `target_modules` as the linears of this model. Raises UserError as `targets_of`."""
        return self.model_copy(update={"target_modules": targets_of(config, self.target_modules)})


class AdapterSettings(BaseModel):
    """An existing adapter to start from or to use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str | None = Field(None, min_length=1, description="Folder of an existing PEFT adapter of this base model.")
    train: bool = Field(
        True,
        description="Continue training it, with its own rank, alpha and targets; false uses it unchanged.",
    )

    @model_validator(mode="after")
    def _needs_a_folder(self) -> Self:
        if self.folder is None and not self.train:
            raise UserError("train=false uses an existing adapter; set adapter.folder")
        return self


class MeshSettings(BaseModel):
    """Number of devices along each mesh axis; the product is the number of devices used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: int = Field(1, ge=1, description="Data parallelism: replicas of the model, each with its own rows.")
    fsdp: int = Field(1, ge=1, description="Fully sharded data parallelism: rows of the batch and weights are split.")
    tp: int = Field(1, ge=1, description="Tensor parallelism: heads, feed-forward and vocabulary are split.")

    @property
    def devices(self) -> int:
        """Number of devices that the mesh needs."""
        return self.data * self.fsdp * self.tp


class ExportSettings(BaseModel):
    """Files for other tools."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    merged: bool = Field(True, description="Also write the full model with the adapter merged in.")
    dtype: ExportDtype = Field("base", description="Dtype of the merged weights: bf16, f32, or that of the base.")
    shard_size: str = Field(
        "4GB", description="Maximum size of a safetensors file of the merged model, such as 2GB, 2GiB or 500MB."
    )
    gguf: GgufKind = Field(
        "none", description="Also write the merged model for llama.cpp and Ollama: f16, bf16 or q8_0 (8 bits)."
    )
    gguf_lora: GgufLoraKind = Field(
        "none",
        description="Also write the adapter alone for llama.cpp and Ollama, to add to a GGUF of the base: f16, f32.",
    )
    data_license: str | None = Field(
        None,
        min_length=1,
        description="Licence of the documents, for the model card: cc-by-4.0, or text.",
    )

    @field_validator("shard_size")
    @classmethod
    def _is_a_size(cls, text: str) -> str:
        parse_size(text)
        return text


class GenerationSettings(BaseModel):
    """How answers are decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(96, ge=1, description="Maximum number of tokens of an answer.")
    temperature: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="Sampling temperature, at least 0.001; 0 is greedy decoding."
    )
    top_k: int | None = Field(None, ge=1, description="Sample only from the k most likely tokens.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Sample from the most likely tokens up to this probability."
    )
    min_p: float | None = Field(
        None, gt=0, le=1, description="Sample only from tokens at least this likely in relation to the likeliest."
    )
    repetition_penalty: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="Logits of tokens of the prompt and the answer are divided by this, negative ones multiplied; 1 is "
        "off. It makes quotes less likely, since they stand in the prompt.",
    )
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="Subtracted from a token's logit for each time that it is in the answer so far."
    )
    presence_penalty: float = Field(
        0.0, ge=-2, le=2, description="Subtracted once from the logits of tokens that are in the answer so far."
    )
    batch_size: int = Field(16, ge=1, description="Number of prompts decoded together.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of sampling, with one stream per prompt.")
    quotes: Literal["verbatim", "free"] = Field(
        "verbatim",
        description='Quotes of a tuned model: "verbatim" constrains decoding to full sentences of the documents in the '
        'prompt; "free" does not.',
    )

    @model_validator(mode="after")
    def _sampling_needs_a_temperature(self) -> Self:
        if self.temperature == 0 and self.limited:
            names = "top_k and top_p" if self.min_p is None else "top_k, top_p and min_p"
            raise UserError(f"{names} have no effect at temperature 0; set a temperature or remove them")
        if 0 < self.temperature < LOWEST_TEMPERATURE:
            raise UserError(f"temperature is 0, for greedy decoding, or at least {LOWEST_TEMPERATURE}")
        return self

    @property
    def limited(self) -> bool:
        """Whether some tokens are never drawn."""
        return not (self.top_k is None and self.top_p is None and self.min_p is None)

    @property
    def penalized(self) -> bool:
        """Whether a token's logit depends on the tokens before it in another way than through the model."""
        return (self.repetition_penalty, self.frequency_penalty, self.presence_penalty) != (1, 0, 0)
