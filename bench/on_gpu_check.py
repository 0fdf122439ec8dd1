"""Does the GPU compute the same? cuDNN's attention and the whole model against references; see bench/on_gpu.py."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jora_model.model.load import load_model
from jora_model.ops.attention import attend, visible
from jora_model.ops.plain_attention import Attention, attend_plain, backend_name, reach_bias
from jora_model.packing.sequences import Sequence, read_sequences
from jora_model.packing.tries import Rows, pack
from jora_model.spec.config import ModelConfig


def check(base: Path, folder: Path) -> None:
    """Print how far off each is, as a share of the largest number."""
    print(jax.__version__, backend_name(), jax.devices()[0].device_kind)
    biased: Attention = "cudnn with bias" if backend_name() == "cuda" else "xla with bias"
    sequences = read_sequences(folder / "shared")[:8]
    _check_attention(ModelConfig.read(base), pack(sequences, 3328).slice(0, 1), biased)
    few = sequences[:3]
    theirs = _their_logits(base, few)
    packed = pack(few, 3328)
    for dtype, attention in (("float32", "xla with bias"), ("bfloat16", biased)):
        model = load_model(base, compute_dtype=dtype)
        with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
            hidden = nnx.jit(lambda model, *rows, how=attention: model.hidden_states(*rows, attention=how))(
                model, *map(jnp.asarray, (packed.tokens, packed.positions, packed.reach))
            )
            ours = [np.asarray(model.head(hidden[row, at]), np.float32) for row, at in _places(packed, few)]
        off = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs, strict=True)]
        print(f"logits of a packed row in {dtype} ({attention}) against transformers in float32, one by one: {off}")


def _check_attention(config: ModelConfig, rows: Rows, attention: Attention) -> None:
    random = np.random.default_rng(0)
    N, K, H = config.num_heads, config.num_kv_heads, config.head_dim
    T = rows.tokens.shape[1]
    q, k, v, probe = (jnp.asarray(random.normal(size=(1, T, heads, H)), jnp.bfloat16) for heads in (N, K, K, N))
    no_rotation = (jnp.ones((1, H, T), jnp.float32), jnp.zeros((1, H, T), jnp.float32))
    reach = jnp.asarray(rows.reach)

    def results(function: Callable[..., Any], *args: Any) -> list[np.ndarray]:
        def total(*qkv: Any) -> Any:
            out = function(*qkv)
            return jnp.sum(out.astype(jnp.float32) * probe.astype(jnp.float32)), out

        (_, out), found = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(*args)
        return [np.asarray(x, np.float32)[:, : rows.used] for x in (out, *found)]

    with jax.default_matmul_precision("highest"):
        reference = results(partial(attend, mask=visible(reach)), *(x.astype(jnp.float32) for x in (q, k, v)))
    bias = reach_bias(reach, jnp.bfloat16)
    found = results(partial(attend_plain, rope=no_rotation, attention=attention, bias=bias), q, k, v)
    off = [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, reference, strict=True)]
    print(f"{attention} in bf16 against the dense reference in float32: out, dq, dk, dv {off}")


def _their_logits(base: Path, sequences: list[Sequence]) -> list[np.ndarray]:
    """Of transformers in float32, where each sequence predicts a learnt token."""
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").to(device)
    found = []
    with torch.no_grad():
        for sequence in sequences:
            tokens = torch.from_numpy(sequence.tokens[None].astype(np.int64)).to(device)
            found.append(model(tokens).logits[0].float().cpu().numpy()[sequence.predict_at])
    return found


def _places(rows: Rows, sequences: list[Sequence]) -> list[tuple[int, np.ndarray]]:
    """Row and places where each sequence predicts its learnt tokens."""
    found = []
    for sequence in sequences:
        learnt = sequence.tokens[sequence.predict_at + 1]
        for row in range(len(rows)):
            real = rows.weights[row] > 0
            targets, at = rows.targets[row][real], rows.predict_at[row][real]
            starts = range(len(targets) - len(learnt) + 1)
            if (
                start := next((s for s in starts if np.array_equal(targets[s : s + len(learnt)], learnt)), None)
            ) is not None:
                found.append((row, at[start : start + len(learnt)]))
                break
    assert len(found) == len(sequences)
    return found
