"""Facts of a checkpoint, read from its Hugging Face `config.json` as transformers reads it.

A field that transformers reads and this project does not is refused; one that neither reads is noted and passed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jora_model.spec.architecture import ATTENTION, MLP, Architecture, Norms, architecture_of
from jora_model.spec.config_fields import Fields, check_fields
from jora_model.spec.hf_files import CONFIG, read_object
from jora_model.spec.rope import Rope, read_ropes
from user_error import UserError

Activation = Literal["silu", "gelu", "gelu_tanh"]
_ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}
# What transformers calls the types of layers.
_FULL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class LayerKind:
    """What distinguishes some layers of a model from others.

    Attributes:
        window: how many of the last positions a query sees, its own included; None is all of them.
        rope: index in `ModelConfig.ropes`.
    """

    window: int | None
    rope: int


@dataclass(frozen=True)
class ModelConfig:
    """Facts of a checkpoint; built only by `from_hf` and what calls it.

    Attributes:
        architecture: name of the class in transformers.
        biases: names of the linears that have a bias.
        norm_offset, norm_rounds_first, norms, qk_norm, fused: see `Architecture`.
        query_scale: what scores are multiplied by.
        score_cap, logit_cap: `cap * tanh(x / cap)` of scores and logits, or None.
        embed_scale: what the embedding's rows are multiplied by; rounded to the compute dtype first if
            `embed_scale_rounds`.
        residual_scale: what a layer's two results are multiplied by before they are added to the states.
        logit_scale: what logits are multiplied by.
        kinds, layers: the kinds of layers, and the kind of each layer.
        ropes: rotary embeddings of the kinds.
        notes: what is in config.json and changes nothing here; to be shown once.
    """

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
    tie_embeddings: bool
    eos_token_ids: tuple[int, ...]
    activation: Activation
    biases: tuple[str, ...]
    norms: Norms
    norm_offset: bool
    norm_rounds_first: bool
    qk_norm: Literal["head", "width"] | None
    fused: bool
    query_scale: float
    score_cap: float | None
    logit_cap: float | None
    embed_scale: float
    embed_scale_rounds: bool
    residual_scale: float
    logit_scale: float
    kinds: tuple[LayerKind, ...]
    layers: tuple[int, ...]
    ropes: tuple[Rope, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Return the facts in a Hugging Face `config.json`.

        Raises:
            UserError: a field is missing, has a wrong type, or a value that is not implemented; names the field, its
                value and what is allowed.
        """
        record = architecture_of(config)
        notes = check_fields(config, record)
        fields = Fields(config, record.defaults)
        heads = fields.integer("num_attention_heads")
        kv_heads = fields.integer("num_key_value_heads", heads)  # null means one for each query head
        hidden = fields.integer("hidden_size")
        head_dim = fields.integer("head_dim", hidden // heads)
        if heads % kv_heads:
            raise UserError(
                f"config.json: num_attention_heads={heads} is not a multiple of num_key_value_heads={kv_heads}"
            )
        if head_dim % 2:
            raise UserError(f"config.json: heads of {head_dim} dims cannot be rotated; the number must be even")
        num_layers = fields.integer("num_hidden_layers")
        positions = fields.integer("max_position_embeddings", 2048)
        kinds, layers, ropes = _kinds(fields, record, config, num_layers, head_dim, positions)
        query_scale = 1 / math.sqrt(head_dim)
        if "query_pre_attn_scalar" in record.reads:
            query_scale = fields.number("query_pre_attn_scalar") ** -0.5
        if "attention_multiplier" in record.reads:
            query_scale = fields.number("attention_multiplier", 1.0)
        multipliers = {
            key: fields.number(key, 1.0) if key in record.reads else 1.0
            for key in ("embedding_multiplier", "residual_multiplier", "logits_scaling")
        }
        capped = "final_logit_softcapping" in record.reads
        return cls(
            architecture=record.name,
            vocab_size=fields.integer("vocab_size"),
            hidden_size=hidden,
            intermediate_size=fields.integer("intermediate_size"),
            num_layers=num_layers,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=head_dim,
            max_positions=positions,
            rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
            tie_embeddings=fields.flag("tie_word_embeddings"),
            eos_token_ids=fields.token_ids("eos_token_id"),
            activation=_activation(fields, record),
            biases=_biases(fields, record),
            norms=record.norms,
            norm_offset=record.norm_offset,
            norm_rounds_first=record.norm_rounds_first,
            qk_norm=record.qk_norm,
            fused=record.fused,
            query_scale=query_scale,
            score_cap=fields.optional_number("attn_logit_softcapping") if capped else None,
            logit_cap=fields.optional_number("final_logit_softcapping") if capped else None,
            embed_scale=math.sqrt(hidden) if record.scales_embedding else multipliers["embedding_multiplier"],
            embed_scale_rounds=record.scales_embedding,
            residual_scale=multipliers["residual_multiplier"],
            logit_scale=1 / multipliers["logits_scaling"],
            kinds=kinds,
            layers=layers,
            ropes=ropes,
            notes=notes,
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

    def windows(self, length: int) -> tuple[int | None, ...]:
        """Return the window of each kind of layer in rows of this length; None where it hides nothing."""
        return tuple(None if kind.window is None or kind.window >= length else kind.window for kind in self.kinds)

    @property
    def long_from(self) -> int | None:
        """The longest sequence for the short factors of `longrope`; None for models whose embedding has one length."""
        return next((rope.original_positions for rope in self.ropes if rope.kind == "longrope"), None)


def _activation(fields: Fields, record: Architecture) -> Activation:
    key = "hidden_activation" if "hidden_activation" in record.reads else "hidden_act"
    name = fields.get(key) or "silu"
    if record.model_type == "gemma" and name == "gelu":
        name = "gelu_pytorch_tanh"  # what the official files mean (transformers, GemmaConfig)
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise UserError(f"config.json: {key}={name!r} is not implemented; allowed are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _biases(fields: Fields, record: Architecture) -> tuple[str, ...]:
    """Names of the linears that have a bias."""
    named = set(record.biases)
    for key, linears in record.bias_fields.items():
        if fields.flag(key):
            named |= set(linears)
    return tuple(name for name in (*ATTENTION, *MLP) if name in named)


def _kinds(
    fields: Fields,
    record: Architecture,
    config: Mapping[str, Any],
    num_layers: int,
    head_dim: int,
    positions: int,
) -> tuple[tuple[LayerKind, ...], tuple[int, ...], tuple[Rope, ...]]:
    """Kinds of layers, the kind of each layer, and the rotary embeddings of the kinds."""
    types = _layer_types(fields, record, num_layers)
    window = fields.get("sliding_window")
    # SmolLM3's switch says which types follow from other fields; types that are named have their window without it.
    named = record.types_by == "no_rope" and fields.get("layer_types") is not None
    if "use_sliding_window" in record.reads and not fields.flag("use_sliding_window") and not named:
        window = None
    if window is not None:
        window = fields.integer("sliding_window")
    by_type = read_ropes(config, record, head_dim)
    rotated = _rotated_layers(fields, record, num_layers)
    ropes: list[Rope] = []
    kinds: list[LayerKind] = []
    layers = []
    for layer_type, rotates in zip(types, rotated, strict=True):
        rope = by_type.get(layer_type, by_type.get("")) if rotates else Rope("none", 1.0, head_dim)
        assert rope is not None
        if rope not in ropes:
            ropes.append(rope)
        hides = layer_type == _SLIDING and window is not None and window < positions
        kind = LayerKind(window if hides else None, ropes.index(rope))
        if kind not in kinds:
            kinds.append(kind)
        layers.append(kinds.index(kind))
    return tuple(kinds), tuple(layers), tuple(ropes)


def _layer_types(fields: Fields, record: Architecture, num_layers: int) -> list[str]:
    if record.window != "types":
        return [_SLIDING if record.window == "all" else _FULL] * num_layers
    types = fields.get("layer_types")
    if types is not None:
        named = isinstance(types, list) and all(kind in (_FULL, _SLIDING) for kind in types)
        if not named or len(types) < num_layers:
            raise UserError(
                f"config.json: layer_types must name {num_layers} layers, each {_FULL} or {_SLIDING}; it is {types!r}"
            )
        return list(types[:num_layers])
    numbers = range(num_layers)
    if record.types_by == "window":
        return [_SLIDING] * num_layers
    if record.types_by == "max_window_layers":
        first = fields.get("max_window_layers")
        return [_SLIDING if number >= first else _FULL for number in numbers]
    if record.types_by == "pattern":
        pattern = record.pattern
        if "sliding_window_pattern" in record.reads:
            pattern = fields.integer("sliding_window_pattern", pattern)
        return [_SLIDING if (number + 1) % pattern else _FULL for number in numbers]
    rotated = _rotated_layers(fields, record, num_layers)
    return [_FULL if rotates else _SLIDING for rotates in rotated]


def _rotated_layers(fields: Fields, record: Architecture, num_layers: int) -> list[bool]:
    """Which layers have rotary embeddings."""
    if "no_rope_layers" not in record.reads:
        return [True] * num_layers
    said = fields.get("no_rope_layers")
    if said is None:
        interval = fields.integer("no_rope_layer_interval", 4)
        return [(number + 1) % interval != 0 for number in range(num_layers)]
    if not isinstance(said, list) or len(said) < num_layers or not all(value in (0, 1) for value in said):
        raise UserError(f"config.json: no_rope_layers must hold a 0 or 1 for each of {num_layers} layers")
    return [bool(value) for value in said[:num_layers]]
