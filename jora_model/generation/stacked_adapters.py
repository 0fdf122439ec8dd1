"""Several adapters on one base in one batch: every token is multiplied by all of them, and masked to its own.

The ranks are concatenated, `low = x [A_0; A_1; ..]^T`, and a token keeps the columns of its adapter, scaled, before
they are multiplied by `[B_0, B_1, ..]^T`. Index 0 is the model as it was loaded; a base has no columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jora_model.ops.cpu import contract
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, dim_sizes, groups_of
from jora_model.spec.settings import LoraSettings
from user_error import UserError


class Adapter(NamedTuple):
    """An adapter on the host, as `lora.read_adapter` returns it; target -> (A `[L, R, in]`, B `[L, out, R]`)."""

    lora: LoraSettings
    factors: Mapping[str, tuple[np.ndarray, np.ndarray]]


class Stacked(NamedTuple):
    """All adapters of one layer's group of linears."""

    a: Float[Array, "C in"]
    b: Float[Array, "C out"]
    owner: Int[Array, " C"]
    scale: Float[Array, " C"]


def stack_adapters(
    adapters: Sequence[Adapter | None], config: ModelConfig, dtype: Any
) -> list[dict[str, Stacked | None]]:
    """Stack adapters by layer and group of linears; None if no adapter has a target there.

    Raises:
        UserError: an adapter is for a model of another shape.
    """
    sizes, groups = dim_sizes(config), groups_of(config)
    stacks: dict[str, Any] = {}
    for name, targets in groups.items():
        widths = [sizes[LINEAR_BY_NAME[target].dims[0]] for target in targets]
        inner = sizes[LINEAR_BY_NAME[targets[0]].dims[1]]
        parts = []
        for number, adapter in enumerate(adapters):
            for target, first, width in zip(targets, np.cumsum([0, *widths]), widths, strict=False):
                if adapter is None or target not in adapter.factors:
                    continue
                a, b = adapter.factors[target]
                rank = adapter.lora.rank
                if a.shape != (config.num_layers, rank, inner) or b.shape != (config.num_layers, width, rank):
                    raise UserError(
                        f"adapter {number}: {target} has factors {a.shape} and {b.shape}; the base model needs "
                        f"{(config.num_layers, rank, inner)} and {(config.num_layers, width, rank)}"
                    )
                out = np.zeros((config.num_layers, rank, sum(widths)), np.float32)
                out[:, :, first : first + width] = b.swapaxes(1, 2)
                parts.append((a, out, np.full(rank, number, np.int32), np.full(rank, adapter.lora.scale, np.float32)))
        if parts:
            a, b, owner, scale = zip(*parts, strict=True)
            stacks[name] = [np.concatenate(x, axis=axis) for x, axis in ((a, 1), (b, 1), (owner, 0), (scale, 0))]
    layers: list[dict[str, Stacked | None]] = []
    for layer in range(config.num_layers):
        stacked: dict[str, Stacked | None] = dict.fromkeys(groups)
        for name, (a, b, owner, scale) in stacks.items():
            stacked[name] = Stacked(
                jnp.asarray(a[layer], dtype), jnp.asarray(b[layer], dtype), jnp.asarray(owner), jnp.asarray(scale)
            )
        layers.append(stacked)
    return layers


def adapted(
    x: Float[Array, "T in"],
    kernel: Float[Array, "out in"],
    stacked: Stacked | None,
    which: Int[Array, " T"],
    bias: Float[Array, " out"] | None = None,
) -> Float[Array, "T out"]:
    """`x W^T + b` plus each token's adapter, summed in float32 and rounded once (as `linear.linear` does).

    Args:
        which: adapter index of each token; `[1]` if all have the same.
    """
    out = contract(x, kernel, -1, 1)
    if bias is not None:
        out = out + bias.astype(jnp.float32)[None]
    if stacked is not None:
        share = jnp.where(stacked.owner[None] == which[:, None], stacked.scale[None], jnp.float32(0))
        low = (contract(x, stacked.a, -1, 1) * share).astype(x.dtype)
        out = out + contract(low, stacked.b, -1, 0)
    return out.astype(x.dtype)
