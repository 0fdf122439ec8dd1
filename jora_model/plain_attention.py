"""Attention of rows that are one plain sequence each, by `jax.nn.dot_product_attention`: cuDNN's on a GPU.

The same numbers as `attend_blocked` where `reach` is plain (tested on a CPU, with JAX's own implementation in cuDNN's
place). cuDNN takes no `reach`: of what a row may be here, it knows a causal sequence from the row's start.
"""

from collections.abc import Iterable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jora_model.attention import rotate
from jora_model.blocked_attention import over_mesh
from jora_model.tiles import last_place

# "tiles" is `attend_blocked`; the others are implementations of JAX's function. "xla" has no use but tests.
Attention = Literal["tiles", "cudnn", "xla"]
_WIDEST = 128  # of a head; more only on some GPUs


def backend_name() -> str:
    """JAX's name of the backend, but "cuda" for NVIDIA's GPUs: "gpu" may be AMD's, which have no cuDNN."""
    return "cuda" if "cuda" in jax.devices()[0].client.platform_version else jax.default_backend()


def choose_attention(
    backend: str, compute_dtype: str, head_dim: int, reaches: Iterable[np.ndarray]
) -> tuple[Attention, str]:
    """Which attention a run takes, and why.

    Args:
        backend: of `backend_name`.
        reaches: of all rows of the run, [B, S] each; read as far as the answer needs.
    """
    if backend != "cuda":
        return "tiles", f"the backend is {backend}"
    if compute_dtype != "bfloat16":
        return "tiles", f"cuDNN takes bfloat16, and training.compute_dtype is {compute_dtype}"
    if head_dim % 8 or head_dim > _WIDEST:
        return "tiles", f"cuDNN takes heads of a multiple of 8 up to {_WIDEST}, and the model's have {head_dim}"
    if not all(is_plain(reach) for reach in reaches):
        return "tiles", "a row holds more than one plain sequence"
    return "cudnn", "a gpu, and every row is one plain sequence"


def is_plain(reach: np.ndarray) -> bool:
    """Whether each row of `reach`, [B, S], is one causal sequence and then padding, or nothing but padding."""
    ends = last_place(reach)[:, None]
    return bool(np.all((reach == ends) | (np.arange(reach.shape[1]) >= ends)))


def attend_plain(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T K H"],
    v: Float[Array, "B T K H"],
    rope: tuple[Float[Array, "B H T"], Float[Array, "B H T"]],
    implementation: Literal["cudnn", "xla"],
    mesh: Mesh | None = None,
) -> Float[Array, "B T N H"]:
    """Causal grouped-query attention of rows over themselves.

    Padding stands behind its row's sequence, so nothing sees it; it sees the sequence itself, and what it gets nobody
    reads: its errors are 0, and so are its gradients (tested).

    Args:
        q, k: not rotated yet.
        rope: `attention.rotary` of the positions.
        mesh: see `attend_blocked`.
    """
    return over_mesh(partial(_attend, implementation), mesh, (q, k, v), rope)


def _attend(implementation: Literal["cudnn", "xla"], q: Array, k: Array, v: Array, cos: Array, sin: Array) -> Array:
    q, k = (_rotated(x, cos, sin) for x in (q, k))
    T = q.shape[1]
    # JAX refuses cuDNN's gradient for an odd length; a place behind all others changes nothing.
    q, k, v = (jnp.pad(x, ((0, 0), (0, T % 2), (0, 0), (0, 0))) for x in (q, k, v))
    return jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation=implementation)[:, :T]


def _rotated(x: Float[Array, "B T N H"], cos: Array, sin: Array) -> Array:
    turned = rotate(jnp.transpose(x, (0, 2, 3, 1)), cos[:, None], sin[:, None])
    return jnp.transpose(turned, (0, 3, 1, 2)).astype(x.dtype)
