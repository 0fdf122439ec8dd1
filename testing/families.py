"""Tiny random models of every architecture, by the real classes of transformers, with odd constants.

One row a family: `VARIANTS[name]` holds the settings to test, each flag of the family both ways.
"""

from pathlib import Path
from typing import Any

VOCAB = 97
_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 3e-4,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
_THETA = {"rope_type": "default", "rope_theta": 12345.0}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 12345.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 3.0,
    "original_max_position_embeddings": 64,
}
_YARN = {"rope_type": "yarn", "rope_theta": 9999.0, "factor": 3.0, "original_max_position_embeddings": 100}
_SMALL_WINDOW: dict[str, Any] = {"sliding_window": 37}


def _longrope(rotated: int) -> dict[str, Any]:
    short = [1.0 + 0.07 * number for number in range(rotated // 2)]
    return {
        "rope_type": "longrope",
        "rope_theta": 7777.0,
        "short_factor": short,
        "long_factor": [3.0 * factor for factor in short],
    }


_GEMMA: dict[str, Any] = {"head_dim": 16, "rope_parameters": _THETA}
_TYPES = ["sliding_attention", "full_attention", "full_attention", "sliding_attention", "full_attention"]
# Class name of transformers -> settings of each variant.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "LlamaForCausalLM": [
        {"rope_parameters": _THETA, "head_dim": 16},
        {"rope_parameters": _LLAMA3, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {"rope_parameters": _YARN, "hidden_act": "gelu"},
        {"rope_parameters": {**_THETA, "rope_type": "linear", "factor": 2.5}, "num_key_value_heads": 4},
        {"rope_parameters": {**_THETA, "rope_type": "dynamic", "factor": 2.5}, "num_key_value_heads": 1},
    ],
    "MistralForCausalLM": [
        {"rope_parameters": _THETA, **_SMALL_WINDOW},
        {"rope_parameters": _THETA, "sliding_window": None, "head_dim": 20},
    ],
    "MinistralForCausalLM": [
        {"rope_parameters": _THETA, **_SMALL_WINDOW, "layer_types": _TYPES, "head_dim": 12},
        {"rope_parameters": _THETA, **_SMALL_WINDOW, "head_dim": 16},
    ],
    "SmolLM3ForCausalLM": [
        {"rope_parameters": _THETA, "tie_word_embeddings": True},
        {"rope_parameters": _YARN, "no_rope_layers": [1, 0, 1, 1, 0], "attention_bias": True},
        {"rope_parameters": _THETA, "use_sliding_window": True, **_SMALL_WINDOW, "no_rope_layer_interval": 2},
    ],
    "Qwen2ForCausalLM": [
        {"rope_parameters": _THETA},
        {"rope_parameters": _YARN, "use_sliding_window": True, **_SMALL_WINDOW, "max_window_layers": 2},
    ],
    "SeedOssForCausalLM": [
        {"rope_parameters": _THETA, "head_dim": 20, "attention_dropout": 0.0, "residual_dropout": 0.0},
        {
            "rope_parameters": _YARN,
            "head_dim": 16,
            "attention_bias": False,
            "attention_out_bias": True,
            "mlp_bias": True,
            "attention_dropout": 0.0,
            "residual_dropout": 0.0,
        },
    ],
    "Qwen3ForCausalLM": [
        {"rope_parameters": _THETA, "head_dim": 20},
        {
            "rope_parameters": _YARN,
            "head_dim": 16,
            "use_sliding_window": True,
            **_SMALL_WINDOW,
            "max_window_layers": 3,
            "attention_bias": True,
            "tie_word_embeddings": True,
        },
    ],
    "GemmaForCausalLM": [
        {**_GEMMA, "tie_word_embeddings": True},
        {**_GEMMA, "attention_bias": True, "hidden_act": "gelu", "num_key_value_heads": 1},
    ],
    "Gemma2ForCausalLM": [
        {**_GEMMA, **_SMALL_WINDOW, "query_pre_attn_scalar": 23, "tie_word_embeddings": True},
        {
            **_GEMMA,
            "sliding_window": 33,
            "query_pre_attn_scalar": 9,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 2.0,
            "layer_types": _TYPES,
        },
        {**_GEMMA, "sliding_window": 600, "attn_logit_softcapping": None, "final_logit_softcapping": None},
    ],
    "Gemma3ForCausalLM": [
        {
            "head_dim": 16,
            **_SMALL_WINDOW,
            "query_pre_attn_scalar": 23,
            "num_hidden_layers": 8,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 55555.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1234.0},
            },
        },
        {
            "head_dim": 12,
            **_SMALL_WINDOW,
            "layer_types": _TYPES,
            "final_logit_softcapping": 4.0,
            "attention_bias": True,
            "rope_parameters": {
                "full_attention": _YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 1234.0},
            },
        },
    ],
    "Phi3ForCausalLM": [
        {"rope_parameters": _THETA, **_SMALL_WINDOW},
        {"rope_parameters": _longrope(12), "original_max_position_embeddings": 64},
        {
            "rope_parameters": {**_longrope(6), "partial_rotary_factor": 0.5},
            "original_max_position_embeddings": 1000,
            "tie_word_embeddings": True,
        },
    ],
    "GraniteForCausalLM": [
        {
            "rope_parameters": _THETA,
            "embedding_multiplier": 11.3,
            "attention_multiplier": 0.137,
            "residual_multiplier": 0.23,
            "logits_scaling": 7.7,
            "tie_word_embeddings": True,
        },
        {"rope_parameters": _THETA, "attention_bias": True, "mlp_bias": True, "logits_scaling": 0.5},
    ],
    "Olmo2ForCausalLM": [{"rope_parameters": _THETA}, {"rope_parameters": _THETA, "attention_bias": True}],
    "Olmo3ForCausalLM": [
        {
            **_SMALL_WINDOW,
            "num_hidden_layers": 6,
            "rope_parameters": {"full_attention": _YARN, "sliding_attention": _THETA},
        },
        {**_SMALL_WINDOW, "layer_types": _TYPES, "rope_parameters": {"full_attention": _THETA}},
    ],
}
CASES = [(name, number) for name, variants in VARIANTS.items() for number in range(len(variants))]


def family_model(name: str, variant: int = 0, *, seed: int = 0, spread: float = 0.15, **changes: Any) -> Any:
    """A random model of this class in float32, weights away from zero and one, so that norms and scales matter.

    Attention is transformers' eager one: the others leave out the softcap of scores.
    """
    import torch
    import transformers

    facts = {**_COMMON, **VARIANTS[name][variant], **changes}
    config_class = getattr(transformers, name).config_class
    config = config_class(**facts)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = getattr(transformers, name)(config)
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            is_norm = "norm" in weight_name
            center = 0.0 if not is_norm or name.startswith("Gemma") else 1.0
            weight.copy_(torch.randn_like(weight) * (0.3 if is_norm else spread) + center)
    return model.eval()


def family_folder(folder: Path, name: str, variant: int = 0, **changes: Any) -> Path:
    """The same, saved as safetensors (float32)."""
    family_model(name, variant, **changes).save_pretrained(folder)
    return folder
