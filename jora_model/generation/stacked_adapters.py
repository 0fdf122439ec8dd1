"""Several adapters on one base in one batch: every token is multiplied by all of them, and masked to its own.

The ranks are concatenated, `low = x [A_0; A_1; ..]^T`, and a token keeps the columns of its adapter, scaled, before
they are multiplied by `[B_0, B_1, ..]^T`. Index 0 is the model as it was loaded; a base has no columns. DoRA multiplies
what comes out by a factor for each adapter and row of W; where no adapter has DoRA the program has none.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jora_model.ops.cpu import contract
from jora_model.ops.dora import row_factors
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, dim_sizes, groups_of
from jora_model.spec.settings import LoraSettings
from user_error import UserError


class Adapter(NamedTuple):
    """An adapter on the host, as `FittedAdapter` holds it; target -> (A `[L, R, in]`, B `[L, out, R]`)."""

    lora: LoraSettings
    factors: Mapping[str, tuple[np.ndarray, np.ndarray]]
    magnitudes: Mapping[str, np.ndarray] = MappingProxyType({})


class Stacked(NamedTuple):
    """All adapters of one layer's group of linears."""

    a: Float[Array, "C in"]
    b: Float[Array, "C out"]
    owner: Int[Array, " C"]
    scale: Float[Array, " C"]
    rows: Float[Array, "M out"] | None = None  # DoRA's factors, one row for each adapter


def stack_adapters(
    adapters: Sequence[Adapter | None],
    config: ModelConfig,
    dtype: Any,
    kernel: Callable[[str, int], Float[Array, "out in"]],
) -> list[dict[str, Stacked | None]]:
    """Stack adapters by layer and group of linears; None if no adapter has a target there.

    Args:
        kernel: returns W of a target and layer; only asked for targets with DoRA.

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
            rows = _rows(adapters, groups[name], layer, sizes, kernel)
            stacked[name] = Stacked(
                jnp.asarray(a[layer], dtype), jnp.asarray(b[layer], dtype), jnp.asarray(owner), jnp.asarray(scale), rows
            )
        layers.append(stacked)
    return layers


def _rows(
    adapters: Sequence[Adapter | None],
    targets: Sequence[str],
    layer: int,
    sizes: Mapping[str, int],
    kernel: Callable[[str, int], Float[Array, "out in"]],
) -> Float[Array, "M out"] | None:
    """DoRA's factor of each adapter and row of a layer's group of linears; None if no adapter has DoRA there."""
    if not any(target in adapter.magnitudes for adapter in adapters if adapter is not None for target in targets):
        return None
    rows = []
    for adapter in adapters:
        parts = []
        for target in targets:
            if adapter is None or target not in adapter.magnitudes:
                parts.append(jnp.ones(sizes[LINEAR_BY_NAME[target].dims[0]], jnp.float32))
                continue
            a, b = (factor[layer] for factor in adapter.factors[target])
            lengths = adapter.magnitudes[target][layer]
            parts.append(row_factors(kernel(target, layer), a, b, adapter.lora.scale, lengths))
        rows.append(jnp.concatenate(parts))
    return jnp.stack(rows)


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
    if stacked is not None:
        share = jnp.where(stacked.owner[None] == which[:, None], stacked.scale[None], jnp.float32(0))
        low = (contract(x, stacked.a, -1, 1) * share).astype(x.dtype)
        out = out + contract(low, stacked.b, -1, 0)
        if stacked.rows is not None:
            out = out * jnp.take(stacked.rows, which, axis=0)
    if bias is not None:  # which DoRA does not scale
        out = out + bias.astype(jnp.float32)[None]
    return out.astype(x.dtype)
