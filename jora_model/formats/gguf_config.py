"""The `config.json` that the fields and tensors of a GGUF file describe.

A field that is not known is refused by name, since an ignored field can change every logit.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, ReaderTensor

from jora_model.formats.gguf_architectures import GGUF_ARCHITECTURES, SMOLLM3_NO_ROPE, GgufArchitecture
from jora_model.formats.gguf_files import GgufFile
from jora_model.formats.gguf_rope import ROPE_FIELDS, ROPE_TENSORS, rope_parameters, shortest
from jora_model.formats.gguf_tokenizer import check_fields, padding_id
from jora_model.spec.architecture import ARCHITECTURES, Architecture
from user_error import UserError

_READ = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.key_length_swa",
    "attention.value_length_swa",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.dimension_count_swa",
    *ROPE_FIELDS,
}
# Fields of single architectures -> the field of config.json.
_SCALES = {
    "granite": {
        "attention.scale": "attention_multiplier",
        "embedding_scale": "embedding_multiplier",
        "residual_scale": "residual_multiplier",
        "logit_scale": "logits_scaling",
    },
    "gemma2": {
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
    },
    "gemma3": {"final_logit_softcapping": "final_logit_softcapping"},
}
# What llama.cpp takes where the file says nothing and transformers takes something else.
_DEFAULTS = {"gemma3": {"attn_logit_softcapping": None, "final_logit_softcapping": None}}
# Fields with the only implemented value.
_ONLY = {
    "expert_count": 0,
    "expert_used_count": 0,
    "attention.causal": True,
    "rope.scaling.yarn_ext_factor": 1.0,
    "rope.scaling.yarn_log_multiplier": 0.0,
    "tensor_data_layout": "Meta AI original pth",
}
_EXACT = {
    GGMLQuantizationType.F16: "float16",
    GGMLQuantizationType.F32: "float32",
}
_FULL, _SLIDING = "full_attention", "sliding_attention"


def config_of(file: GgufFile) -> dict[str, Any]:
    """Return the content of `config.json`.

    Raises:
        UserError: an architecture, field, value or rotary embedding that is not implemented, named.
    """
    name = file.fields.get("general.architecture")
    if name not in GGUF_ARCHITECTURES:
        raise UserError(
            f"GGUF architecture {name!r} is not implemented; allowed are {', '.join(sorted(GGUF_ARCHITECTURES))}"
        )
    arch = GGUF_ARCHITECTURES[name]
    fields = {key.removeprefix(f"{name}."): value for key, value in file.fields.items() if key.startswith(f"{name}.")}
    check_fields(f"{name}.", fields, _READ | set(_SCALES.get(name, ())), _ONLY)
    read = _Read(name, fields)
    heads, hidden, layers = (read.integer(k) for k in ("attention.head_count", "embedding_length", "block_count"))
    head_dim = fields.get("attention.key_length", hidden // heads)
    for key in ("value_length", "key_length_swa", "value_length_swa"):
        _same(read, f"attention.{key}", head_dim)
    window, slides = _window(read, arch, layers)
    record = _class_of(arch, slides)
    rotated = fields.get("rope.dimension_count", head_dim)
    if not record.fused:
        _same(read, "rope.dimension_count", head_dim)
        _same(read, "rope.dimension_count_swa", head_dim)
    if name == "granite" and fields.get("rope.scaling.finetuned") is False:
        raise UserError("granite.rope.scaling.finetuned=False (no rotary embedding) is not implemented; only True is")
    positions = read.integer("context_length")
    embed = file.tensors.get("token_embd.weight")
    tied = "output.weight" not in file.tensors
    biased = {
        key: _has_bias(file.tensors, part) for key, part in (("attention_bias", "attn_q"), ("mlp_bias", "ffn_up"))
    }
    config: dict[str, Any] = {
        "architectures": [record.name],
        **({"attention_bias": biased["attention_bias"]} if "attention_bias" in record.bias_fields else {}),
        **_token_ids(file.fields),
        "dtype": dtype_of(file.tensors),
        "head_dim": head_dim,
        "hidden_act": "silu" if arch.activation == "silu" else "gelu_pytorch_tanh",
        "hidden_size": hidden,
        "intermediate_size": read.integer("feed_forward_length"),
        "max_position_embeddings": positions,
        **({"mlp_bias": biased["mlp_bias"]} if "mlp_bias" in record.bias_fields else {}),
        "model_type": record.model_type,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": fields.get("attention.head_count_kv", heads),
        "rms_norm_eps": shortest(read.need("attention.layer_norm_rms_epsilon")),
        **_rope(read, file.tensors, record, arch, rotated, head_dim),
        "tie_word_embeddings": tied,
        "vocab_size": int(embed.shape[1]) if embed is not None else len(file.fields.get("tokenizer.ggml.tokens", ())),
    }
    if "hidden_activation" in record.reads:
        config["hidden_activation"] = config["hidden_act"]
    if "query_pre_attn_scalar" in record.reads:
        config["query_pre_attn_scalar"] = hidden // heads if layers == arch.wide_at else head_dim
    config |= _DEFAULTS.get(name, {})
    config |= {ours: shortest(fields[key]) for key, ours in _SCALES.get(name, {}).items() if key in fields}
    if "sliding_window" in record.reads:
        config["sliding_window"] = window
    if "use_sliding_window" in record.reads:
        config["use_sliding_window"] = window is not None
    if "layer_types" in record.reads:
        config["layer_types"] = [_SLIDING if slide else _FULL for slide in slides]
    if "no_rope_layer_interval" in record.reads:
        config["no_rope_layer_interval"] = SMOLLM3_NO_ROPE
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if name != "llama":  # defaults of the class may lie beyond the vocabulary
            config.setdefault(key, None)
    return config


def dtype_of(tensors: Mapping[str, ReaderTensor]) -> str:
    """Return the dtype of the imported weights: float16 or float32 if all matrices of the file are, else bfloat16."""
    kinds = {tensor.tensor_type for tensor in tensors.values() if len(tensor.shape) > 1}
    return _EXACT.get(kinds.pop(), "bfloat16") if len(kinds) == 1 else "bfloat16"


class _Read:
    """Fields of the architecture."""

    def __init__(self, name: str, fields: Mapping[str, Any]):
        self.name, self.fields = name, fields

    def need(self, key: str) -> Any:
        if key not in self.fields:
            raise UserError(f"field {self.name}.{key} is missing")
        return self.fields[key]

    def integer(self, key: str) -> int:
        value = self.need(key)
        if isinstance(value, list):
            raise UserError(f"{self.name}.{key} differs between layers, which is not implemented")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{self.name}.{key}={value!r} must be a positive integer")
        return value


def _same(read: _Read, key: str, head_dim: int) -> None:
    if read.fields.get(key, head_dim) != head_dim:
        raise UserError(
            f"{read.name}.{key}={read.fields[key]} differs from the head dim {head_dim}, which is not implemented"
        )


def _class_of(arch: GgufArchitecture, slides: list[bool]) -> Architecture:
    """Return the record of transformers' class: several share an architecture, and differ in their windows."""
    if arch.name == "llama" and any(slides):
        return ARCHITECTURES["MistralForCausalLM" if all(slides) else "MinistralForCausalLM"]
    if arch.name == "olmo2" and any(slides):
        return ARCHITECTURES["Olmo3ForCausalLM"]
    return next(record for record in ARCHITECTURES.values() if record.gguf == arch.name)


def _window(read: _Read, arch: GgufArchitecture, layers: int) -> tuple[int | None, list[bool]]:
    """Return the window, and whether each layer has it."""
    window = read.fields.get("attention.sliding_window", 4096 if arch.name == "gemma2" else 0)
    pattern = read.fields.get("attention.sliding_window_pattern", 0 if arch.period is None else arch.period)
    if isinstance(pattern, list):
        if len(pattern) != layers:
            raise UserError(
                f"{read.name}.attention.sliding_window_pattern has {len(pattern)} values for {layers} layers"
            )
        slides = [bool(value) for value in pattern]
    else:
        slides = [pattern == 0 or (layer + 1) % pattern != 0 for layer in range(layers)]
    if not window or not any(slides):
        return None, [False] * layers
    return int(window), slides


def _rope(
    read: _Read,
    tensors: Mapping[str, ReaderTensor],
    record: Architecture,
    arch: GgufArchitecture,
    rotated: int,
    head_dim: int,
) -> dict[str, Any]:
    """Fields of config.json on rotary embeddings."""
    theta = shortest(read.fields.get("rope.freq_base", 10_000.0))
    factors = {name: np.asarray(tensors[name].data, np.float32) for name in ROPE_TENSORS if name in tensors}
    try:
        scaled = rope_parameters({"rope.freq_base": theta, **read.fields}, factors, rotated)
    except UserError as error:
        raise UserError(re.sub(r"^(field )?rope\.", rf"\1{read.name}.rope.", str(error))) from None
    if record.ropes == "by type":
        default = theta if arch.local_theta is None else arch.local_theta
        local = shortest(read.fields.get("rope.freq_base_swa", default))
        return {
            "rope_parameters": {
                _FULL: {"rope_type": "default", **scaled, "rope_theta": theta},
                _SLIDING: {"rope_type": "default", "rope_theta": local},
            }
        }
    if shortest(read.fields.get("rope.freq_base_swa", theta)) != theta:
        raise UserError(f"{read.name}.rope.freq_base_swa differs from rope.freq_base, which is not implemented")
    if not scaled and rotated == head_dim:
        return {"rope_theta": theta}
    partial = {"partial_rotary_factor": rotated / head_dim} if rotated != head_dim else {}
    original = scaled.pop("original_max_position_embeddings", None) if record.fused else None
    return {
        "rope_parameters": {"rope_type": "default", **scaled, "rope_theta": theta, **partial},
        **({"original_max_position_embeddings": original} if original is not None else {}),
    }


def _has_bias(tensors: Mapping[str, ReaderTensor], part: str) -> bool:
    return f"blk.0.{part}.bias" in tensors


def _token_ids(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Ids of special tokens. Besides the end of text, those of a turn and of a message end an answer."""
    named = {f"{name}_token_id": fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    ids: dict[str, Any] = {
        key: number for key, number in {**named, "pad_token_id": padding_id(fields)}.items() if number is not None
    }
    ends = [fields[key] for key in (f"tokenizer.ggml.{n}_token_id" for n in ("eos", "eot", "eom")) if key in fields]
    if len(set(ends)) > 1:
        ids["eos_token_id"] = list(dict.fromkeys(ends))
    return ids
