"""The one table of parameters: our name, the names in Hugging Face and GGUF files, and the logical dims for sharding.

Kernels keep Hugging Face's layout `[out, in]`, so nothing is transposed on loading or saving (measured: XLA's matrix
products run as fast in this layout). Parameters of the layers are stacked on axis 0: `[L, out, in]`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jora_model.spec.config import ModelConfig


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


def _in_layers(name: str, hf: str, gguf: str, *dims: str) -> Parameter:
    return Parameter(name, f"model.layers.{{layer}}.{hf}.weight", f"blk.{{layer}}.{gguf}.weight", dims)


EMBED = Parameter("embed", "model.embed_tokens.weight", "token_embd.weight", ("vocab", "embed"))
FINAL_NORM = Parameter("final_norm", "model.norm.weight", "output_norm.weight", ("norm",))
HEAD = Parameter("lm_head", "lm_head.weight", "output.weight", ("vocab", "embed"))
NORMS = (
    _in_layers("input_norm", "input_layernorm", "attn_norm", "norm"),
    _in_layers("post_norm", "post_attention_layernorm", "ffn_norm", "norm"),
)
LINEARS = (
    _in_layers("q_proj", "self_attn.q_proj", "attn_q", "heads", "embed"),
    _in_layers("k_proj", "self_attn.k_proj", "attn_k", "kv_heads", "embed"),
    _in_layers("v_proj", "self_attn.v_proj", "attn_v", "kv_heads", "embed"),
    _in_layers("o_proj", "self_attn.o_proj", "attn_output", "embed", "heads"),
    _in_layers("gate_proj", "mlp.gate_proj", "ffn_gate", "mlp", "embed"),
    _in_layers("up_proj", "mlp.up_proj", "ffn_up", "mlp", "embed"),
    _in_layers("down_proj", "mlp.down_proj", "ffn_down", "embed", "mlp"),
)
LINEAR_BY_NAME = {parameter.name: parameter for parameter in LINEARS}


def linears_of(config: ModelConfig) -> tuple[Parameter, ...]:
    """Return the linears of a layer, in the order of the layer."""
    return LINEARS


def parameters_of(config: ModelConfig) -> tuple[Parameter, ...]:
    """Return all base parameters of a model; a tied head shares the embedding and has no row."""
    head = () if config.tie_embeddings else (HEAD,)
    return (EMBED, *NORMS, *LINEARS, FINAL_NORM, *head)


def dim_sizes(config: ModelConfig) -> dict[str, int]:
    """Return the size of each logical dim."""
    return {
        "vocab": config.vocab_size,
        "embed": config.hidden_size,
        "norm": config.hidden_size,
        "heads": config.num_heads * config.head_dim,
        "kv_heads": config.num_kv_heads * config.head_dim,
        "mlp": config.intermediate_size,
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


def adapter_count(config: ModelConfig, rank: int, targets: Sequence[str]) -> int:
    """Return the number of an adapter's weights."""
    sizes = dim_sizes(config)
    return sum(rank * sum(sizes[dim] for dim in LINEAR_BY_NAME[name].dims) * config.num_layers for name in targets)
