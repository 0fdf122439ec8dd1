"""Fields of `config.json`: which are read, refused, noted or harmless, and their values by type."""

import math
from collections.abc import Mapping
from typing import Any

from jora_model.spec.architecture import Architecture
from jora_model.spec.known_fields import fields_of
from user_error import UserError

# Fields that change the logits, with the only implemented value (None counts as absent).
_ONLY = {
    "quantization_config": None,
    "rope_interleaved": False,
    "use_bidirectional_attention": False,
    "is_decoder": True,
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "pretraining_tp": 1,
}
# Fields that every class reads.
_READ = {
    "architectures",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
}
# Fields of every config that do not change the logits.
_HARMLESS = {
    "model_type",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "initializer_range",
    "use_cache",
    "_name_or_path",
    "name_or_path",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "id2label",
    "label2id",
    "problem_type",
    "chunk_size_feed_forward",
    "is_encoder_decoder",
    "tokenizer_class",
    "is_llama_config",
    "transformers.js_config",
    "unsloth_version",
    "unsloth_fixed",
    "_sliding_window_pattern",
}


class Fields:
    """Values of config.json, or transformers' defaults, checked by type."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any]):
        self._config, self._defaults = config, defaults

    def get(self, key: str) -> Any:
        return self._config[key] if key in self._config else self._defaults.get(key)

    def integer(self, key: str, default: int | None = None) -> int:
        value = self.get(key)
        value = default if value is None else value
        if value is None:
            raise UserError(f"config.json: {key} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise UserError(f"config.json: {key}={value!r} must be a positive integer")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key)
        value = default if value is None else value
        if value is None:
            raise UserError(f"config.json: {key} is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UserError(f"config.json: {key}={value!r} must be a number above 0")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        return None if self.get(key) is None else self.number(key)

    def flag(self, key: str) -> bool:
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise UserError(f"config.json: {key}={value!r} must be true or false")
        return bool(value)

    def token_ids(self, key: str) -> tuple[int, ...]:
        value = self.get(key)
        ids = () if value is None else tuple(value) if isinstance(value, list) else (value,)
        if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in ids):
            raise UserError(f"config.json: {key}={value!r} must be a token id or a list of token ids")
        return ids


def check_fields(config: Mapping[str, Any], record: Architecture) -> tuple[str, ...]:
    """Refuse fields that only transformers reads; return notes on those that nobody does."""
    for key, only in _ONLY.items():
        value = config.get(key)
        if value is not None and value != only:
            raise UserError(f"config.json: {key}={value!r} is not implemented; only {only!r} is")
    notes = [
        f"{key}={config[key]}: dropout of the base in training is not implemented; trains without"
        for key in ("attention_dropout", "residual_dropout")
        if config.get(key)
    ]
    if config.get("auto_map"):
        notes.append("auto_map: the model's own code is not run; the layer is that of transformers' class")
    known = (
        _READ | _HARMLESS | set(record.reads) | set(record.bias_fields) | set(_ONLY) | {"attention_dropout", "auto_map"}
    )
    strange = sorted(key for key in set(config) - known if config[key] is not None)
    theirs = fields_of(record.model_type) if strange else {}
    for key in strange:
        if key in theirs and (theirs[key] is ... or config[key] != theirs[key]):
            raise UserError(
                f"config.json: {key}={config[key]!r} is read by transformers' {record.name} and not implemented here; "
                "use another model, or remove the field if you know that it changes nothing"
            )
    unread = [key for key in strange if key not in theirs]
    if unread:
        notes.append(f"fields that {record.name} does not read are ignored: {', '.join(unread)}")
    return tuple(notes)
