"""Facts of a checkpoint, read from its Hugging Face `config.json`; fields that are not implemented are rejected."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jora_model.spec.hf_files import CONFIG, read_object
from user_error import UserError

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")

# Keys that change the arithmetic, with the only implemented value (None counts as absent).
_ONLY = {
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_act": "silu",
    "sliding_window": None,
    "pretraining_tp": 1,
    "quantization_config": None,
    "partial_rotary_factor": 1.0,
}
# Keys that are read below, and keys that do not change the logits.
_READ = {
    "architectures",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
}
_HARMLESS = {
    "model_type",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "initializer_range",
    "use_cache",
    "attention_dropout",
    "is_llama_config",
    "rope_interleaved",
    "transformers.js_config",
    "_name_or_path",
    "name_or_path",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "auto_map",
    "unsloth_version",
    "unsloth_fixed",
    "id2label",
    "label2id",
    "problem_type",
    "chunk_size_feed_forward",
    "is_encoder_decoder",
    "tokenizer_class",
    "original_max_position_embeddings",
}


@dataclass(frozen=True)
class Llama3Rope:
    """Rope scaling of Llama 3.1 and later (transformers, modeling_rope_utils.py, `llama3`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


@dataclass(frozen=True)
class ModelConfig:
    """Facts of a checkpoint of the Llama family; built only by `from_hf` and what calls it."""

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_positions: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: Llama3Rope | None
    tie_embeddings: bool
    eos_token_ids: tuple[int, ...]

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Return the facts in a Hugging Face `config.json`.

        Raises:
            UserError: a field is missing, unknown, or has a value that is not implemented; names the field, its value
                and what is allowed.
        """
        architecture = _architecture(config)
        for key, only in _ONLY.items():
            value = config.get(key)
            if value is not None and value != only:
                raise UserError(f"config.json: {key}={value!r} is not implemented; only {only!r} is")
        unknown = sorted(set(config) - _READ - _HARMLESS - set(_ONLY))
        if unknown:
            raise UserError(
                f"config.json: unknown fields {', '.join(unknown)}, which could change the arithmetic; "
                "remove those that do not"
            )
        rope_theta, rope_scaling = _rope(config)
        heads = _need(config, "num_attention_heads")
        kv_heads = config.get("num_key_value_heads") or heads
        head_dim = config.get("head_dim") or _need(config, "hidden_size") // heads
        if heads % kv_heads:
            raise UserError(
                f"config.json: num_attention_heads={heads} is not a multiple of num_key_value_heads={kv_heads}"
            )
        eos = config.get("eos_token_id")
        return cls(
            architecture=architecture,
            vocab_size=_need(config, "vocab_size"),
            hidden_size=_need(config, "hidden_size"),
            intermediate_size=_need(config, "intermediate_size"),
            num_layers=_need(config, "num_hidden_layers"),
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            max_positions=_need(config, "max_position_embeddings"),
            rms_norm_eps=float(_need(config, "rms_norm_eps")),
            rope_theta=rope_theta,
            rope_scaling=rope_scaling,
            # transformers' default for the Llama family.
            tie_embeddings=bool(config.get("tie_word_embeddings", False)),
            eos_token_ids=() if eos is None else tuple(eos) if isinstance(eos, list) else (eos,),
        )

    @classmethod
    def read(cls, folder: Path) -> "ModelConfig":
        """Return the facts of a model folder. Raises UserError if config.json is missing, broken or not implemented."""
        try:
            return cls.read_file(Path(folder) / CONFIG)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{folder} holds no {CONFIG}; name a Hugging Face model folder") from None

    @classmethod
    def read_file(cls, path: Path) -> "ModelConfig":
        """Return the facts in a `config.json`. Raises UserError when it is broken or not implemented."""
        return cls.from_hf(read_object(path))


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures") or [None]
    if names[0] not in ARCHITECTURES:
        raise UserError(
            f"config.json: architecture {names[0]!r} is not implemented; allowed are {', '.join(ARCHITECTURES)}"
        )
    return str(names[0])


def _rope(config: Mapping[str, Any]) -> tuple[float, Llama3Rope | None]:
    """Return theta and scaling, from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (older)."""
    parameters = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    theta = parameters.pop("rope_theta", config.get("rope_theta"))
    if theta is None:
        # The default of transformers' LlamaConfig; Llama 2 checkpoints omit it.
        theta = 10_000.0
    kind = parameters.pop("rope_type", None) or parameters.pop("type", None) or "default"
    parameters.pop("type", None)
    if kind == "default":
        return float(theta), None
    if kind != "llama3":
        raise UserError(f"config.json: rope type {kind!r} is not implemented; allowed are default and llama3")
    scaling = Llama3Rope(
        factor=float(_need(parameters, "factor")),
        low_freq_factor=float(_need(parameters, "low_freq_factor")),
        high_freq_factor=float(_need(parameters, "high_freq_factor")),
        original_max_positions=int(_need(parameters, "original_max_position_embeddings")),
    )
    return float(theta), scaling


def _need(config: Mapping[str, Any], key: str) -> Any:
    value = config.get(key)
    if value is None:
        raise UserError(f"config.json: {key} is missing")
    return value
