"""What distinguishes one class of transformers from another, as data: one record an architecture.

A record says how its `config.json` is read (defaults of transformers' config class included) and which variant of each
part of the layer it has. `config.py` turns a config and its record into the facts that the layer reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from user_error import UserError

Norms = Literal["before", "after", "both"]
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Architecture:
    """One class of transformers.

    Attributes:
        name: of the class, as in `architectures` of config.json.
        model_type: of its config class in transformers.
        gguf: llama.cpp's name of the architecture.
        defaults: of optional fields of config.json, where transformers' config class has another default than Llama's.
        reads: fields of config.json that this class has and Llama has not, all read by config.py.
        norms: of the residual stream: before attention and MLP, after them, or both.
        norm_offset: norms multiply by 1 + weight (Gemma).
        norm_rounds_first: norms round to the compute dtype before the weight (Llama), not after it (Gemma, OLMo 2).
        qk_norm: of queries and keys: over each head, or over all heads together.
        fused: q, k and v are one weight, and so are gate and up (Phi-3).
        biases: linears that always have a bias.
        bias_fields: the fields of config.json that add biases -> the linears that get one.
        scales_embedding: states are multiplied by sqrt(hidden size) (Gemma).
        window: which layers attend to a window: those of `layer_types`, or all of them.
        types_by: how `layer_types` follows from other fields if it is absent.
        pattern: each layer of a multiple of this number has no window, if types follow from a pattern. Only Gemma 3
            reads another number from its config.
        ropes: one for all layers, or one for each type of layer.
    """

    name: str
    model_type: str
    gguf: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    norms: Norms = "before"
    norm_offset: bool = False
    norm_rounds_first: bool = True
    qk_norm: Literal["head", "width"] | None = None
    fused: bool = False
    biases: tuple[str, ...] = ()
    bias_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scales_embedding: bool = False
    window: Literal["none", "types", "all"] = "none"
    types_by: Literal["", "window", "max_window_layers", "pattern", "no_rope"] = ""
    pattern: int = 0
    ropes: Literal["one", "by type"] = "one"


_GEMMA = {
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "num_key_value_heads": 16,
}
_GEMMA2 = {**_GEMMA, "query_pre_attn_scalar": 256, "sliding_window": 4096, "num_key_value_heads": 4}
_ATTENTION_BIAS = {"attention_bias": ATTENTION}
_BOTH_BIASES = {"attention_bias": ATTENTION, "mlp_bias": MLP}
_WINDOWED = {"sliding_window": 4096}
_QWEN_DEFAULTS = {
    **_WINDOWED,
    "max_window_layers": 28,
    "max_position_embeddings": 32_768,
    "num_key_value_heads": 32,
}
_TYPED = ("sliding_window", "layer_types")
_QWEN = (*_TYPED, "use_sliding_window", "max_window_layers")
_SOFTCAPPED = (
    *_TYPED,
    "hidden_activation",
    "query_pre_attn_scalar",
    "final_logit_softcapping",
    "attn_logit_softcapping",
    "use_bidirectional_attention",
)

ARCHITECTURES = {
    record.name: record
    for record in (
        Architecture("LlamaForCausalLM", "llama", "llama", bias_fields=_BOTH_BIASES),
        Architecture(
            "MistralForCausalLM",
            "mistral",
            "llama",
            {**_WINDOWED, "num_key_value_heads": 8, "max_position_embeddings": 131_072},
            reads=("sliding_window",),
            window="all",
        ),
        Architecture(
            "MinistralForCausalLM",
            "ministral",
            "llama",
            {**_WINDOWED, "num_key_value_heads": 8, "max_position_embeddings": 131_072},
            reads=_TYPED,
            window="types",
            types_by="window",
        ),
        Architecture(
            "SmolLM3ForCausalLM",
            "smollm3",
            "smollm3",
            {
                "rope_theta": 2_000_000.0,
                "tie_word_embeddings": True,
                "num_key_value_heads": 4,
                "max_position_embeddings": 32_768,
            },
            reads=(*_TYPED, "use_sliding_window", "no_rope_layers", "no_rope_layer_interval"),
            bias_fields=_BOTH_BIASES,
            window="types",
            types_by="no_rope",
        ),
        Architecture(
            "Qwen2ForCausalLM",
            "qwen2",
            "qwen2",
            _QWEN_DEFAULTS,
            reads=_QWEN,
            biases=("q_proj", "k_proj", "v_proj"),
            window="types",
            types_by="max_window_layers",
        ),
        Architecture(
            "SeedOssForCausalLM",
            "seed_oss",
            "seed_oss",
            {"attention_bias": True, "head_dim": 128, "num_key_value_heads": 8, "max_position_embeddings": 524_288},
            reads=("residual_dropout",),
            bias_fields={"attention_bias": ATTENTION[:3], "attention_out_bias": ATTENTION[3:], "mlp_bias": MLP},
        ),
        Architecture(
            "Qwen3ForCausalLM",
            "qwen3",
            "qwen3",
            {**_QWEN_DEFAULTS, "head_dim": 128},
            reads=_QWEN,
            bias_fields=_ATTENTION_BIAS,
            qk_norm="head",
            window="types",
            types_by="max_window_layers",
        ),
        Architecture(
            "GemmaForCausalLM",
            "gemma",
            "gemma",
            _GEMMA,
            reads=("use_bidirectional_attention",),
            bias_fields=_ATTENTION_BIAS,
            norm_offset=True,
            norm_rounds_first=False,
            scales_embedding=True,
        ),
        Architecture(
            "Gemma2ForCausalLM",
            "gemma2",
            "gemma2",
            {**_GEMMA2, "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
            reads=_SOFTCAPPED,
            norms="both",
            bias_fields=_ATTENTION_BIAS,
            norm_offset=True,
            norm_rounds_first=False,
            scales_embedding=True,
            window="types",
            types_by="pattern",
            pattern=2,
        ),
        Architecture(
            "Gemma3ForCausalLM",
            "gemma3_text",
            "gemma3",
            {**_GEMMA2, "rope_theta": 1_000_000.0, "max_position_embeddings": 131_072},
            reads=(*_SOFTCAPPED, "rope_local_base_freq", "sliding_window_pattern"),
            norms="both",
            bias_fields=_ATTENTION_BIAS,
            norm_offset=True,
            norm_rounds_first=False,
            qk_norm="head",
            scales_embedding=True,
            window="types",
            types_by="pattern",
            pattern=6,
            ropes="by type",
        ),
        Architecture(
            "Phi3ForCausalLM",
            "phi3",
            "phi3",
            {"original_max_position_embeddings": 4096, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
            reads=("sliding_window", "original_max_position_embeddings", "partial_rotary_factor"),
            fused=True,
            window="all",
        ),
        Architecture(
            "GraniteForCausalLM",
            "granite",
            "granite",
            reads=("embedding_multiplier", "logits_scaling", "residual_multiplier", "attention_multiplier"),
            bias_fields=_BOTH_BIASES,
        ),
        Architecture(
            "Olmo2ForCausalLM",
            "olmo2",
            "olmo2",
            {"rms_norm_eps": 1e-5},
            bias_fields=_ATTENTION_BIAS,
            norms="after",
            norm_rounds_first=False,
            qk_norm="width",
        ),
        Architecture(
            "Olmo3ForCausalLM",
            "olmo3",
            "olmo2",
            {**_WINDOWED, "rope_theta": 500_000.0, "rms_norm_eps": 1e-5},
            reads=_TYPED,
            bias_fields=_ATTENTION_BIAS,
            norms="after",
            norm_rounds_first=False,
            qk_norm="width",
            window="types",
            types_by="pattern",
            pattern=4,
            ropes="by type",
        ),
    )
}

# Parts of a class name, or of a config, that name what is not implemented.
_REFUSED = (
    (("Moe", "Mixtral", "Mixture", "MoE", "Jetmoe", "GptOss", "DeepseekV"), "a mixture of experts"),
    (
        ("Mamba", "Jamba", "Bamba", "Zamba", "Falcon_H1", "FalconH1", "Rwkv", "Recurrent"),
        "a model with state-space layers",
    ),
    (("ConditionalGeneration", "VL", "Vision", "Llava", "ImageText"), "a model with a vision or audio tower"),
)


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the record of a `config.json`.

    Raises:
        UserError: it names no class, or one that is not implemented, with the kind of model that it is; or its type is
            another one.
    """
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else names
    if name is None:  # transformers' AutoModelForCausalLM goes by the type alone
        of_type = [record for record in ARCHITECTURES.values() if record.model_type == config.get("model_type")]
        if of_type:
            return of_type[0]
    if isinstance(name, str) and name in ARCHITECTURES:
        record = ARCHITECTURES[name]
        if config.get("model_type") not in (None, record.model_type):
            raise UserError(
                f"config.json: architectures says {name}, whose model_type is {record.model_type!r}, and model_type is "
                f"{config['model_type']!r}; transformers goes by the latter: correct the one that is wrong"
            )
        return record
    kind = next((what for parts, what in _REFUSED if any(part in str(name) for part in parts)), None)
    if kind is None and (config.get("num_local_experts") or config.get("num_experts")):
        kind = "a mixture of experts"
    if kind is None and ("vision_config" in config or "text_config" in config):
        kind = "a model with a vision or audio tower"
    what = f", {kind}," if kind else ""
    raise UserError(
        f"config.json: architecture {name!r}{what} is not implemented; allowed are {', '.join(sorted(ARCHITECTURES))}"
    )
