"""What a person chooses about adapter and mesh. No JAX here, so that the command line starts fast."""

import math
import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jora_model.spec.parameters import LINEAR_BY_NAME
from user_error import UserError

ExportDtype = Literal["base", "bf16", "f32"]
GgufKind = Literal["none", "f16", "bf16", "q8_0"]
Remat = Literal["none", "dots", "full"]
ALL_LINEAR = tuple(LINEAR_BY_NAME)

_UNITS = {"GB": 10**9, "GIB": 2**30, "MB": 10**6, "MIB": 2**20}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|GiB|MB|MiB)", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of a size such as 24GB (10^9) or 24GiB (2^30).

    Raises:
        UserError: it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise UserError("write it as 24GB, 24GiB, 500MB or 500MiB")
    return round(float(match[1]) * _UNITS[match[2].upper()])


class LoraSettings(BaseModel):
    """Low-rank adapters (arXiv 2106.09685), in PEFT's words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(16, ge=1, description="Rank of the adapter's two factors.")
    alpha: float = Field(32.0, gt=0, description="Adapter output is multiplied by alpha / rank.")
    use_rslora: bool = Field(
        False, description="Multiply by alpha / sqrt(rank) instead (rank-stabilized LoRA, arXiv 2312.03732)."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapter's input, in training only.")
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "v_proj"),
        description=f"Layers that get an adapter: of {', '.join(ALL_LINEAR)}; or the one word all-linear.",
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, list | tuple):
            if tuple(value) == ("all-linear",):
                return ALL_LINEAR
            unknown = [name for name in value if name not in ALL_LINEAR]
            if unknown or not value:
                raise UserError(
                    f"target_modules {', '.join(map(str, unknown)) or '(none)'} match no layer; "
                    f"allowed are {', '.join(ALL_LINEAR)}, or all-linear"
                )
            # The order is the model's, so that the same set is the same setting.
            return tuple(name for name in ALL_LINEAR if name in value)
        return value

    @property
    def scale(self) -> float:
        """The factor on B(A(x)): the only place where it is computed."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)


class AdapterSettings(BaseModel):
    """An adapter from elsewhere, in place of a fresh one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str | None = Field(
        None, min_length=1, description="Folder of a PEFT adapter of this base model, trained by whomever."
    )
    train: bool = Field(
        True, description="Train that adapter further, with its own rank, alpha and targets; or take it as it is."
    )

    @model_validator(mode="after")
    def _there_is_one(self) -> Self:
        if self.folder is None and not self.train:
            raise UserError("train=false takes an adapter as it is; name one: adapter.folder")
        return self


class MeshSettings(BaseModel):
    """How many devices along each mesh axis; their product is the number of devices used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: int = Field(1, ge=1, description="Copies of the model, each with its own rows of the batch.")
    fsdp: int = Field(1, ge=1, description="Rows of the batch are split and weights are split by their width.")
    tp: int = Field(1, ge=1, description="Tensor parallelism: heads, feed-forward and vocabulary are split.")

    @property
    def devices(self) -> int:
        """Number of devices that the mesh needs."""
        return self.data * self.fsdp * self.tp


class ExportSettings(BaseModel):
    """What is written for other tools."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    merged: bool = Field(True, description="Also write the whole model with the adapter merged in.")
    dtype: ExportDtype = Field("base", description="Dtype of the merged weights: bf16, f32, or as the base has them.")
    shard_size: str = Field(
        "4GB", description="No safetensors file of the merged model is larger: 2GB, 2GiB, 500MB or 500MiB."
    )
    gguf: GgufKind = Field(
        "none", description="Also write the merged model for llama.cpp and Ollama: f16, bf16 or q8_0 (8 bits)."
    )
    data_license: str | None = Field(
        None, min_length=1, description="Licence of the documents, for the model card: cc-by-4.0, or in words."
    )

    @field_validator("shard_size")
    @classmethod
    def _is_a_size(cls, text: str) -> str:
        parse_size(text)
        return text


class GenerationSettings(BaseModel):
    """How answers are decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(96, ge=1, description="An answer ends after this many tokens at the latest.")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token; higher draws more freely.")
    top_k: int | None = Field(None, ge=1, description="Draw from the k likeliest tokens only.")
    top_p: float | None = Field(None, gt=0, le=1, description="Draw from the likeliest tokens that hold this share.")
    batch_size: int = Field(16, ge=1, description="Prompts decoded at once.")
    seed: int = Field(0, ge=0, description="Seed of the draws, one stream for each prompt.")
    quotes: Literal["verbatim", "free"] = Field(
        "verbatim",
        description='What a tuned model quotes: "verbatim", held to whole sentences of the documents shown while it '
        'writes, or "free", whatever it writes.',
    )

    @model_validator(mode="after")
    def _choices_are_drawn_from(self) -> Self:
        if self.temperature == 0 and (self.top_k is not None or self.top_p is not None):
            raise UserError("top_k and top_p change nothing at temperature 0; set a temperature or leave them out")
        return self
