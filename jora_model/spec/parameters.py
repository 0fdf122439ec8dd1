"""The one table of parameters: our name, the names in Hugging Face and GGUF files, and the logical dims for sharding.

Kernels keep Hugging Face's layout `[out, in]`, so nothing is transposed on loading or saving (measured: XLA's matrix
products run as fast in this layout). Parameters of the layers are stacked on axis 0: `[L, out, in]`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jora_model.spec.architecture import MLP, Norms
from jora_model.spec.config import ModelConfig
from user_error import UserError


@dataclass(frozen=True)
class Parameter:
    """One row of the table. `hf` and `gguf` contain `{layer}` where each layer has the parameter."""

    name: str
    hf: str
    gguf: str
    dims: tuple[str, ...]

    @property
    def stacked(self) -> bool:
        """Whether each layer has one."""
        return "{layer}" in self.hf

    def hf_names(self, num_layers: int) -> list[str]:
        """The names in a Hugging Face checkpoint, in layer order."""
        return [self.hf.format(layer=layer) for layer in range(num_layers)] if self.stacked else [self.hf]

    def gguf_names(self, num_layers: int) -> list[str]:
        """The names in a GGUF file of llama.cpp, in layer order."""
        return [self.gguf.format(layer=layer) for layer in range(num_layers)] if self.stacked else [self.gguf]

    def module(self, layer: int) -> str:
        """The Hugging Face module that holds a layer's weight."""
        return self.hf.removesuffix(".weight").format(layer=layer)

    @property
    def bias(self) -> "Parameter":
        """The row of a linear's bias."""
        hf, gguf = (name.removesuffix("weight") + "bias" for name in (self.hf, self.gguf))
        return Parameter(bias_name(self.name), hf, gguf, self.dims[:1])


def bias_name(linear: str) -> str:
    """Our name of a linear's bias."""
    return f"{linear}_bias"


def _in_layers(name: str, hf: str, gguf: str, *dims: str) -> Parameter:
    return Parameter(name, f"model.layers.{{layer}}.{hf}.weight", f"blk.{{layer}}.{gguf}.weight", dims)


EMBED = Parameter("embed", "model.embed_tokens.weight", "token_embd.weight", ("vocab", "embed"))
FINAL_NORM = Parameter("final_norm", "model.norm.weight", "output_norm.weight", ("norm",))
HEAD = Parameter("lm_head", "lm_head.weight", "output.weight", ("vocab", "embed"))

_BEFORE_ATTENTION = _in_layers("norm_before_attention", "input_layernorm", "attn_norm", "norm")
_AFTER_ATTENTION = _in_layers("norm_after_attention", "post_attention_layernorm", "post_attention_norm", "norm")
_AFTER_MLP = _in_layers("norm_after_mlp", "post_feedforward_layernorm", "post_ffw_norm", "norm")
_NORMS: dict[Norms, tuple[Parameter, ...]] = {
    # Without a norm after the attention, "post attention" in Llama's name means before the MLP.
    "before": (_BEFORE_ATTENTION, _in_layers("norm_before_mlp", "post_attention_layernorm", "ffn_norm", "norm")),
    "after": (_AFTER_ATTENTION, _AFTER_MLP),
    "both": (
        _BEFORE_ATTENTION,
        _AFTER_ATTENTION,
        _in_layers("norm_before_mlp", "pre_feedforward_layernorm", "ffn_norm", "norm"),
        _AFTER_MLP,
    ),
}
_QK_NORM = {
    "head": ("head_dim", "head_dim"),
    "width": ("heads", "kv_heads"),
}
_LINEARS = (
    _in_layers("q_proj", "self_attn.q_proj", "attn_q", "heads", "embed"),
    _in_layers("k_proj", "self_attn.k_proj", "attn_k", "kv_heads", "embed"),
    _in_layers("v_proj", "self_attn.v_proj", "attn_v", "kv_heads", "embed"),
    _in_layers("o_proj", "self_attn.o_proj", "attn_output", "embed", "heads"),
    _in_layers("gate_proj", "mlp.gate_proj", "ffn_gate", "mlp", "embed"),
    _in_layers("up_proj", "mlp.up_proj", "ffn_up", "mlp", "embed"),
    _in_layers("down_proj", "mlp.down_proj", "ffn_down", "embed", "mlp"),
    # Phi-3's: queries, keys and values in one weight; gate and up in one.
    _in_layers("qkv_proj", "self_attn.qkv_proj", "attn_qkv", "qkv", "embed"),
    _in_layers("gate_up_proj", "mlp.gate_up_proj", "ffn_up", "gate_up", "embed"),
)
LINEAR_BY_NAME = {parameter.name: parameter for parameter in _LINEARS}
# Linears with the same input, whose outputs stand side by side where they are one product. The layer reads by these.
_GROUPS = {"qkv": ("q_proj", "k_proj", "v_proj"), "o": ("o_proj",), "gate_up": MLP[:2], "down": MLP[2:]}
_FUSED_GROUPS = {**_GROUPS, "qkv": ("qkv_proj",), "gate_up": ("gate_up_proj",)}
# Names for sets of linears, whatever the architecture.
PRESETS = ("attention", "mlp", "all-linear", "qv")


def groups_of(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Return the linears of each product of a layer: `qkv`, `o`, `gate_up` and `down`."""
    return _FUSED_GROUPS if config.fused else _GROUPS


def linears_of(config: ModelConfig) -> tuple[Parameter, ...]:
    """Return the linears of a layer, in the order of the layer."""
    return tuple(LINEAR_BY_NAME[name] for names in groups_of(config).values() for name in names)


def widths_of(config: ModelConfig, group: str) -> tuple[int, ...]:
    """Return how wide each part of a product's output is: queries, keys and values, or gate and up."""
    sizes = dim_sizes(config)
    return tuple(sizes[LINEAR_BY_NAME[name].dims[0]] for name in _GROUPS[group])


def layer_norms_of(config: ModelConfig) -> tuple[Parameter, ...]:
    """Return the norms of a layer, those of queries and keys included."""
    names = () if config.qk_norm is None else zip("qk", _QK_NORM[config.qk_norm], strict=True)
    return (
        *_NORMS[config.norms],
        *(_in_layers(f"{x}_norm", f"self_attn.{x}_norm", f"attn_{x}_norm", dim) for x, dim in names),
    )


def parameters_of(config: ModelConfig) -> tuple[Parameter, ...]:
    """Return all base parameters of a model; a tied head shares the embedding and has no row."""
    head = () if config.tie_embeddings else (HEAD,)
    biases = (LINEAR_BY_NAME[name].bias for name in config.biases)
    return (EMBED, *layer_norms_of(config), *linears_of(config), *biases, FINAL_NORM, *head)


def targets_of(config: ModelConfig, names: Sequence[str]) -> tuple[str, ...]:
    """Return the linears that `lora.target_modules` names for this model, in the order of the layer.

    Args:
        names: linears, or one of `PRESETS`: `qv` is queries and values, which Phi-3 has in `qkv_proj`.

    Raises:
        UserError: the model has no such linear.
    """
    groups, linears = groups_of(config), [parameter.name for parameter in linears_of(config)]
    presets: dict[str, tuple[str, ...]] = {
        "all-linear": tuple(linears),
        "attention": (*groups["qkv"], *groups["o"]),
        "mlp": (*groups["gate_up"], *groups["down"]),
        "qv": groups["qkv"] if config.fused else ("q_proj", "v_proj"),
    }
    wanted = {linear for name in names for linear in presets.get(name, (name,))}
    unknown = sorted(wanted - set(linears))
    if unknown:
        raise UserError(
            f"lora.target_modules {', '.join(unknown)}: {config.architecture} has no such linear; allowed are "
            f"{', '.join(linears)}, or {', '.join(PRESETS)}"
        )
    return tuple(name for name in linears if name in wanted)


def dim_sizes(config: ModelConfig) -> dict[str, int]:
    """Return the size of each logical dim."""
    heads, kv_heads = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    return {
        "vocab": config.vocab_size,
        "embed": config.hidden_size,
        "norm": config.hidden_size,
        "head_dim": config.head_dim,
        "heads": heads,
        "kv_heads": kv_heads,
        "qkv": heads + 2 * kv_heads,
        "mlp": config.intermediate_size,
        "gate_up": 2 * config.intermediate_size,
        "layers": config.num_layers,
    }


def shape_of(parameter: Parameter, config: ModelConfig) -> tuple[int, ...]:
    """Return a parameter's shape in the model; stacked parameters lead with the number of layers."""
    sizes = dim_sizes(config)
    shape = tuple(sizes[dim] for dim in parameter.dims)
    return (config.num_layers, *shape) if parameter.stacked else shape


def parameter_count(config: ModelConfig) -> int:
    """Return the number of base weights."""
    return sum(math.prod(shape_of(parameter, config)) for parameter in parameters_of(config))


def adapter_count(config: ModelConfig, rank: int, targets: Sequence[str], use_dora: bool = False) -> int:
    """Return the number of an adapter's weights. Raises UserError as `targets_of`."""
    sizes = dim_sizes(config)
    count = 0
    for name in targets_of(config, targets):
        out, inner = (sizes[dim] for dim in LINEAR_BY_NAME[name].dims)
        count += config.num_layers * (rank * (out + inner) + (out if use_dora else 0))
    return count
