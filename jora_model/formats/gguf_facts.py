"""The fields and extra tensors of a GGUF file for a model; gguf_config.py is the inverse.

What llama.cpp does not compute is refused by name, so that no file answers otherwise than the model. One difference
remains and is bounded instead: some architectures of llama.cpp ignore windows, see `same_context`.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jora_model.formats.gguf_architectures import GGUF_ARCHITECTURES, SMOLLM3_NO_ROPE, GgufArchitecture
from jora_model.formats.gguf_rope import rope_fields
from jora_model.spec.architecture import ARCHITECTURES
from jora_model.spec.config import ModelConfig
from user_error import UserError


def architecture_of(config: ModelConfig) -> GgufArchitecture:
    """Return llama.cpp's architecture of a model. Raises UserError if its names there are not in the table."""
    name = ARCHITECTURES[config.architecture].gguf
    if name not in GGUF_ARCHITECTURES:
        raise UserError(
            f"GGUF of {config.architecture} is not implemented; set export.gguf=none and export.gguf_lora=none"
        )
    return GGUF_ARCHITECTURES[name]


def same_context(config: ModelConfig) -> int:
    """Return the longest context in which llama.cpp computes what the model computes.

    Llama, Qwen and Phi-3 have no windows there, and longrope's factors follow the size of the context and not the
    length of the sequence.
    """
    ends = [config.max_positions, *([] if config.long_from is None else [config.long_from])]
    if architecture_of(config).period is None:
        ends += [kind.window for kind in config.kinds if kind.window is not None]
    return min(ends)


def facts_of(config: ModelConfig) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the fields, without the architecture's name before them, and tensors besides those of the model.

    Raises:
        UserError: llama.cpp does not compute this model; says all that is in the way.
    """
    arch = architecture_of(config)
    reasons = list(_refused(config, arch))
    fields: dict[str, Any] = {
        "block_count": config.num_layers,
        "context_length": config.max_positions,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "vocab_size": config.vocab_size,
    }
    tensors: dict[str, np.ndarray] = {}
    try:
        found, tensors = _ropes(config, arch)
        fields |= found | _windows(config, arch)
    except UserError as error:
        reasons.append(str(error))
    if reasons:
        raise UserError(
            f"GGUF export of this {config.architecture} is not implemented, since llama.cpp does not compute it: "
            f"{'; '.join(reasons)}; set export.gguf=none and export.gguf_lora=none"
        )
    if arch.name == "granite":
        fields |= {
            "attention.scale": config.query_scale,
            "embedding_scale": config.embed_scale,
            "residual_scale": config.residual_scale,
            "logit_scale": 1 / config.logit_scale,
        }
    for name, cap in (("attn", config.score_cap), ("final", config.logit_cap)):
        if cap is not None:
            fields[f"{name}_logit_softcapping"] = cap
    return fields, tensors


def _refused(config: ModelConfig, arch: GgufArchitecture) -> Iterator[str]:
    biases = [name for name in config.biases if name not in arch.biases]
    if biases:
        yield f"{arch.name} has no biases of {', '.join(biases)}"
    if config.tie_embeddings and arch.head == "own":
        yield f"{arch.name} needs a head of its own, and this model's is its embedding"
    if not config.tie_embeddings and arch.head == "tied":
        yield f"{arch.name} has its embedding as head, and this model has a head of its own"
    if arch.square and config.num_heads * config.head_dim != config.hidden_size:
        yield f"{arch.name} has heads of {config.hidden_size // config.num_heads} dims, not of {config.head_dim}"
    if config.activation != arch.activation:
        yield f"{arch.name} has the activation {arch.activation}, not {config.activation}"
    width = config.hidden_size // config.num_heads if config.num_layers == arch.wide_at else config.head_dim
    if arch.name != "granite" and not math.isclose(config.query_scale, width**-0.5, rel_tol=1e-6):
        yield f"{arch.name} scales scores by 1/sqrt({width}), not by {config.query_scale:.6g}"
    if arch.name == "gemma2" and None in (config.score_cap, config.logit_cap):
        yield "gemma2 caps scores and logits, and this model does not cap both"
    if arch.name == "gemma3" and config.score_cap is not None:
        yield "gemma3 does not cap scores"


def _ropes(config: ModelConfig, arch: GgufArchitecture) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fields and tensors on rotary embeddings."""
    for rope in config.ropes:
        if rope.kind not in arch.ropes:
            raise UserError(f"{arch.name} has no rotary embedding of the kind {rope.kind}")
    if arch.name == "smollm3":
        for layer, kind in enumerate(config.layers):
            rotates = config.ropes[config.kinds[kind].rope].kind != "none"
            if rotates != bool((layer + 1) % SMOLLM3_NO_ROPE):
                raise UserError("smollm3 has a rotary embedding in all layers but each fourth")
    rope = next(rope for rope in config.ropes if rope.kind != "none")
    local = None
    if ARCHITECTURES[config.architecture].ropes == "by type":
        by_window = {slides: config.ropes[kind.rope] for slides, kind in _sliding_kinds(config)}
        rope, local = by_window.get(False, rope), by_window.get(True)
        if local is not None and local.kind != "default":
            raise UserError(f"{arch.name} does not scale the rotary embedding of layers with a window")
        if local is not None and arch.local_theta is None and local.theta != rope.theta:
            raise UserError(f"{arch.name} has one theta for all layers")
    fields, tensors = rope_fields(rope)
    if local is not None and "rope.scaling.attn_factor" in fields:
        raise UserError(f"{arch.name} has the attention factor of its rotary embedding in all layers")
    theta: dict[str, Any] = {"rope.freq_base": rope.theta, "rope.dimension_count": rope.width}
    if local is not None:
        theta["rope.freq_base_swa"] = local.theta
    return theta | fields, tensors


def _sliding_kinds(config: ModelConfig) -> Iterator[tuple[bool, Any]]:
    for kind in config.kinds:
        yield kind.window is not None, kind


def _windows(config: ModelConfig, arch: GgufArchitecture) -> dict[str, Any]:
    """Fields on windows."""
    windows = {kind.window for kind in config.kinds if kind.window is not None}
    slides = [config.kinds[kind].window is not None for kind in config.layers]
    if not windows:
        if len({rope for rope in config.ropes if rope.kind != "none"}) > 1:
            raise UserError(f"{arch.name} has a second rotary embedding only in layers with a window below the context")
        if arch.name == "gemma2":  # its default is a window of 4096
            return {"attention.sliding_window": config.max_positions}
        return {"attention.sliding_window": 0} if arch.name == "phi3" else {}
    (window,) = windows
    if arch.period is None:
        pattern = {} if all(slides) else {"attention.sliding_window_pattern": slides}
        return {"attention.sliding_window": window, **pattern}
    # Of these, llama.cpp reads a number and ignores a list. Beyond the number of layers, all have the window.
    for period in (arch.period, *range(1, config.num_layers + 2)):
        if slides == [(layer + 1) % period != 0 for layer in range(config.num_layers)]:
            said = {} if period == arch.period else {"attention.sliding_window_pattern": period}
            return {"attention.sliding_window": window, **said}
    raise UserError(f"{arch.name} has windows in all layers but each n-th")
