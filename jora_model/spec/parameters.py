"""The one table of parameters: our name, the Hugging Face name, and the logical dims that decide the sharding.

Kernels are kept as Hugging Face stores them, `[out, in]`, so nothing is transposed on the way in or out
(measured: XLA's products run as fast in this layout). Parameters of the layers are stacked on axis 0: `[L, out, in]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jora_model.spec.config import ModelConfig


@dataclass(frozen=True)
class Parameter:
    """One row of the table. `hf` holds `{layer}` where the parameter is stacked over the layers."""

    name: str
    hf: str
    dims: tuple[str, ...]

    @property
    def stacked(self) -> bool:
        """Whether each layer has one."""
        return "{layer}" in self.hf

    def hf_names(self, num_layers: int) -> list[str]:
        """The names in a Hugging Face checkpoint, in layer order."""
        return [self.hf.format(layer=layer) for layer in range(num_layers)] if self.stacked else [self.hf]


def _linear(name: str, group: str, out: str, inner: str) -> Parameter:
    return Parameter(name, f"model.layers.{{layer}}.{group}.{name}.weight", (out, inner))


EMBED = Parameter("embed", "model.embed_tokens.weight", ("vocab", "embed"))
FINAL_NORM = Parameter("final_norm", "model.norm.weight", ("norm",))
HEAD = Parameter("lm_head", "lm_head.weight", ("vocab", "embed"))
NORMS = (
    Parameter("input_norm", "model.layers.{layer}.input_layernorm.weight", ("norm",)),
    Parameter("post_norm", "model.layers.{layer}.post_attention_layernorm.weight", ("norm",)),
)
LINEARS = (
    _linear("q_proj", "self_attn", "heads", "embed"),
    _linear("k_proj", "self_attn", "kv_heads", "embed"),
    _linear("v_proj", "self_attn", "kv_heads", "embed"),
    _linear("o_proj", "self_attn", "embed", "heads"),
    _linear("gate_proj", "mlp", "mlp", "embed"),
    _linear("up_proj", "mlp", "mlp", "embed"),
    _linear("down_proj", "mlp", "embed", "mlp"),
)
LINEAR_BY_NAME = {parameter.name: parameter for parameter in LINEARS}


def parameters_of(config: ModelConfig) -> tuple[Parameter, ...]:
    """All base parameters of a model; a tied head is the embedding and has no row."""
    head = () if config.tie_embeddings else (HEAD,)
    return (EMBED, *NORMS, *LINEARS, FINAL_NORM, *head)


def dim_sizes(config: ModelConfig) -> dict[str, int]:
    """Size of each logical dim."""
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
    """Shape as held here: stacked parameters lead with the number of layers."""
    sizes = dim_sizes(config)
    shape = tuple(sizes[dim] for dim in parameter.dims)
    return (config.num_layers, *shape) if parameter.stacked else shape


def parameter_count(config: ModelConfig) -> int:
    """Number of base weights."""
    total = 0
    for parameter in parameters_of(config):
        size = 1
        for length in shape_of(parameter, config):
            size *= length
        total += size
    return total


def adapter_count(config: ModelConfig, rank: int, targets: Sequence[str]) -> int:
    """Weights of an adapter of a rank on these targets."""
    sizes = dim_sizes(config)
    return sum(rank * sum(sizes[dim] for dim in LINEAR_BY_NAME[name].dims) * config.num_layers for name in targets)
