"""Attention by `jax.nn.dot_product_attention`: cuDNN's on an NVIDIA GPU, where a loop over tiles would be slow.

Same numbers as `attend_blocked` (tested on a CPU, with JAX's own implementation instead of cuDNN's). cuDNN takes no
`reach`: rows of one plain sequence need only its causal mask; other rows get a bias [S, S] each, the same for all heads
and layers, with a large negative value where the mask is False.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from jora_model.ops.attention import PLAIN_SCORES, Scores, Window, rotate, visible
from jora_model.ops.blocked_attention import over_mesh

# "tiles" is `attend_blocked`; the others are implementations of JAX's function, with or without a bias for `reach`.
# "xla" is for tests only.
Attention = Literal["tiles", "cudnn", "cudnn with bias", "xla", "xla with bias"]
_HIDDEN = -1e9
_WIDEST = 128  # of a head; more only on some GPUs
_OLDEST = 8  # major compute capability, Ampere: JAX accepts older GPUs, for which cuDNN has no kernel


def backend_name() -> str:
    """JAX's name of the backend, but "cuda" for NVIDIA's GPUs: "gpu" may be AMD's, which have no cuDNN.

    For GPUs too old for cuDNN's attention the compute capability is appended ("cuda 7.5").
    """
    device = jax.devices()[0]
    if "cuda" not in device.client.platform_version:
        return jax.default_backend()
    capability = str(getattr(device, "compute_capability", "8.0"))
    return f"cuda {capability}" if int(capability.split(".")[0]) < _OLDEST else "cuda"


def choose_attention(
    backend: str,
    compute_dtype: str,
    head_dim: int,
    reaches: Iterable[np.ndarray],
    *,
    capped: bool = False,
    windowed: bool = False,
) -> tuple[Attention, str]:
    """Choose the attention of a run; returns it and the reason.

    Args:
        backend: of `backend_name`.
        capped: whether the model caps its scores.
        windowed: whether some layers have a window shorter than a row.
        reaches: `reach` of all rows of the run, [B, S] each; read only as far as needed.
    """
    if backend.startswith("cuda "):
        return "tiles", f"cuDNN takes GPUs from compute capability {_OLDEST}.0 on, and this is {backend}"
    if backend != "cuda":
        return "tiles", f"the backend is {backend}"
    if compute_dtype != "bfloat16":
        return "tiles", f"cuDNN takes bfloat16, and training.compute_dtype is {compute_dtype}"
    if capped:
        return "tiles", "cuDNN has no cap of scores, and the model has"
    if head_dim % 8 or head_dim > _WIDEST:
        return "tiles", f"cuDNN takes heads of a multiple of 8 up to {_WIDEST}, and the model's have {head_dim}"
    if windowed:
        return "cudnn with bias", "a gpu, and some layers have a window"
    if not all(is_plain(reach) for reach in reaches):
        return "cudnn with bias", "a gpu, and a row holds more than one plain sequence"
    return "cudnn", "a gpu, and every row is one plain sequence"


def is_plain(reach: np.ndarray) -> bool:
    """Whether each row of `reach`, [B, S], is one causal sequence and then padding, or nothing but padding."""
    end, itself = reach[:, :1], np.arange(1, reach.shape[1] + 1)
    return bool(np.all(reach == np.where(itself <= end, end, itself)))


def reach_bias(reach: Int[Array, "B S"], dtype: Any, window: Window | None = None) -> Float[Array, "B 1 T S"]:
    """Bias of the scores: 0 where query i sees key j (`attention.visible`), else -1e9."""
    return jnp.where(visible(reach, window), jnp.zeros((), dtype), jnp.full((), _HIDDEN, dtype))[:, None]


def attend_plain(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T K H"],
    v: Float[Array, "B T K H"],
    rope: tuple[Float[Array, "B H T"], Float[Array, "B H T"]],
    attention: Attention,
    bias: Float[Array, "B 1 T T"] | None = None,
    mesh: Mesh | None = None,
    scores: Scores = PLAIN_SCORES,
) -> Float[Array, "B T N H"]:
    """Causal grouped-query self-attention of rows.

    Without a bias, padding comes after its row's sequence, so no token sees it. It sees the sequence, but its output is
    not used: its cotangents are 0, and so are its gradients (tested).

    Args:
        q, k: not rotated.
        rope: `attention.rotary` of the positions.
        bias: `reach_bias`, for rows that are not one plain sequence.
        mesh: see `attend_blocked`.
        scores: must have no cap.
    """
    assert scores.cap is None, "scores with a cap need `attend_blocked`"
    implementation = attention.split()[0]
    rest = (*rope, bias) if bias is not None else rope
    return over_mesh(partial(_attend, implementation, scores), mesh, (q, k, v), rest)


def _attend(
    implementation: Any,
    scores: Scores,
    q: Array,
    k: Array,
    v: Array,
    cos: Array,
    sin: Array,
    bias: Array | None = None,
) -> Array:
    q, k = (_rotated(x, cos, sin, scores.width) for x in (q, k))
    T = q.shape[1]
    # JAX refuses cuDNN's gradient for an odd length; one more position at the end changes nothing.
    q, k, v = (jnp.pad(x, ((0, 0), (0, T % 2), (0, 0), (0, 0))) for x in (q, k, v))
    if bias is not None and T % 2:
        bias = jnp.pad(bias, ((0, 0), (0, 0), (0, 1), (0, 1)))
    out = jax.nn.dot_product_attention(q, k, v, bias, is_causal=True, scale=scores.scale, implementation=implementation)
    return out[:, :T]


def _rotated(x: Float[Array, "B T N H"], cos: Array, sin: Array, width: int | None) -> Array:
    rotated = rotate(jnp.transpose(x, (0, 2, 3, 1)), cos[:, None], sin[:, None], width)
    return jnp.transpose(rotated, (0, 3, 1, 2)).astype(x.dtype)
