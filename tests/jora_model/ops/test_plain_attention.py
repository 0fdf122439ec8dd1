"""Attention by JAX's function: chosen for rows of one plain sequence on an NVIDIA GPU, and the same as our own."""

import itertools
import logging
from collections.abc import Sequence
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.model.load import load_model
from jora_model.ops.attention import rotary
from jora_model.ops.blocked_attention import attend_blocked, block_rope
from jora_model.ops.plain_attention import attend_plain, backend_name, choose_attention, is_plain, reach_bias
from jora_model.packing.tiles import Tiles, visible_tiles
from jora_model.packing.tries import pack
from jora_model.runtime.sharding import make_mesh
from jora_model.spec.settings import MeshSettings
from jora_model.training.step import Trainer
from jora_model.training.train import train
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_folder
from testing.train_jobs import LORA, SETTINGS, job

PLAIN = np.array([[3, 3, 3, 4, 5]], np.int32)
BRANCHED = np.array([[5, 4, 3, 4, 5]], np.int32)


def reach_of(used: Sequence[int], length: int) -> np.ndarray:
    """Rows of one plain sequence of so many tokens each, then padding."""
    places = np.arange(length, dtype=np.int32)
    return np.stack([np.where(places < count, count, places + 1).astype(np.int32) for count in used])


@pytest.mark.parametrize(
    ("backend", "dtype", "head_dim", "reaches", "choice", "reason"),
    [
        ("cuda", "bfloat16", 64, [PLAIN, PLAIN], "cudnn", "a gpu, and every row is one plain sequence"),
        ("cuda", "bfloat16", 64, [PLAIN, BRANCHED], "cudnn with bias", "and a row holds more than one plain sequence"),
        ("cuda 7.5", "bfloat16", 64, [PLAIN], "tiles", "from compute capability 8.0 on, and this is cuda 7.5"),
        ("cuda", "float32", 64, [PLAIN], "tiles", "cuDNN takes bfloat16, and training.compute_dtype is float32"),
        ("cuda", "bfloat16", 256, [PLAIN], "tiles", "heads of a multiple of 8 up to 128, and the model's have 256"),
        ("cuda", "bfloat16", 100, [PLAIN], "tiles", "heads of a multiple of 8 up to 128, and the model's have 100"),
        ("gpu", "bfloat16", 64, [PLAIN], "tiles", "the backend is gpu"),
        ("cpu", "bfloat16", 64, [PLAIN], "tiles", "the backend is cpu"),
    ],
)
def test_choice(backend, dtype, head_dim, reaches, choice, reason):
    found, why = choose_attention(backend, dtype, head_dim, reaches)
    assert found == choice
    assert why.endswith(reason)


@pytest.mark.parametrize(
    ("capability", "name"),
    [("7.0", "cuda 7.0"), ("7.5", "cuda 7.5"), ("8.0", "cuda"), ("9.0", "cuda"), ("12.0", "cuda")],
)
def test_gpus_before_ampere_are_told_apart(monkeypatch, capability, name):
    client = SimpleNamespace(platform_version="PJRT C API\ncuda 13000")
    device = SimpleNamespace(client=client, compute_capability=capability)
    monkeypatch.setattr("jax.devices", lambda: [device])
    assert backend_name() == name


def test_rows_are_read_only_as_far_as_the_answer_needs():
    rows = iter([PLAIN, BRANCHED, PLAIN])
    assert choose_attention("cpu", "bfloat16", 64, rows)[0] == "tiles"
    assert choose_attention("cuda", "bfloat16", 64, rows)[0] == "cudnn with bias"
    assert len(list(rows)) == 1


def test_plain_rows():
    assert is_plain(reach_of([5, 3, 2, 0], 5))
    for reach in ([5, 5, 3, 5, 5], [3, 3, 3, 5, 5], [2, 2, 4, 4, 5]):
        assert not is_plain(np.array([reach], np.int32))
    sequences = random_sequences(0, count=6)
    assert all(is_plain(pack([sequence], 64).slice(0, 2).reach) for sequence in sequences)
    assert not is_plain(pack(sequences, 64).reach)


def branched_rows(length: int) -> tuple[np.ndarray, np.ndarray]:
    """`reach` of four rows of tries, some of them padded, and their lengths."""
    sequences = random_sequences(1, count=24)
    rows = pack(sequences, length).slice(0, 4)
    assert not is_plain(rows.reach)
    return rows.reach, rows.lengths


@pytest.mark.parametrize("branched", [False, True])
@pytest.mark.parametrize("mesh", [None, MeshSettings(data=2, fsdp=2, tp=2), MeshSettings(tp=4)])
def test_the_same_as_tiles(mesh, branched):
    """Outputs and gradients, for groups of three queries; those of padding are 0."""
    length = 301
    random = np.random.default_rng(0)
    q, k, v = (jnp.asarray(random.normal(size=(4, length, heads, 16)), jnp.float32) for heads in (12, 4, 4))
    lengths = np.array([301, 187, 2, 0])
    reach = reach_of(lengths, length)
    if branched:
        reach, lengths = branched_rows(length)
    real = np.arange(length) < lengths[:, None]
    probe = jnp.asarray(random.normal(size=q.shape) * real[:, :, None, None], jnp.float32)
    rope = rotary(jnp.asarray(np.arange(length, dtype=np.int32) * real), np.array([1.0, 0.3, 0.1] * 3)[:8])
    tiles = Tiles(*map(jnp.asarray, visible_tiles(reach, lengths)))
    placed = make_mesh(mesh) if mesh else None

    def plain(q, k, v):
        bias = reach_bias(jnp.asarray(reach), jnp.float32) if branched else None
        return attend_plain(q, k, v, rope, "xla", bias, placed)

    def ours(q, k, v):
        return attend_blocked(q, k, v, block_rope(rope, 3), jnp.asarray(reach), tiles)

    def results(attend):
        def total(*qkv):
            out = attend(*qkv) * real[:, :, None, None].astype(np.float32)
            return jnp.sum(out * probe), out

        (_, out), gradients = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(q, k, v)
        return [np.asarray(x) for x in (out, *gradients)]

    for found, reference in zip(results(plain), results(ours), strict=True):
        np.testing.assert_allclose(found, reference, rtol=0, atol=1e-5 * np.abs(reference).max())
        assert not found[~real].any()


ALONE, DATA, BOTH = None, MeshSettings(data=4), MeshSettings(data=2, tp=2)
# Each value of each of the three in a fast test; the other pairs are slow.
FAST_STEPS = [(BOTH, "full", "xla with bias")]
STEPS = [
    pytest.param(*step, marks=() if step in FAST_STEPS else pytest.mark.slow)
    for step in itertools.product((ALONE, DATA, BOTH), ("full", "none"), ("xla", "xla with bias"))
]


@pytest.mark.parametrize(("mesh", "remat", "other"), STEPS)
def test_a_step_is_the_same(tmp_path, mesh, remat, other):
    """Of plain rows and one that is all padding, or of tries: the loss, the gradient's norm and the adapter after an
    update."""
    sequences = random_sequences(0, count=3)
    alone = [pack([sequence], 64) for sequence in sequences]
    rows = type(alone[0])(**{name: np.concatenate([vars(row)[name] for row in alone]) for name in vars(alone[0])})
    if other == "xla with bias":
        rows = pack(random_sequences(1, count=12), 128)
    settings = SETTINGS.model_copy(update={"remat": remat})
    base = hf_folder(tmp_path)
    found = []
    for attention in ("tiles", other):
        placed = make_mesh(mesh) if mesh else None
        model = load_model(base, lora=LORA, mesh=placed, compute_dtype="float32")
        trainer = Trainer(model, settings, 3, attention)
        batch = rows.slice(0, 4)
        sums = trainer.accumulate(trainer.zero(), batch, 0, 0)
        gradient = [np.asarray(leaf) for leaf in jax.tree.leaves(sums.gradient)]
        found.append([*gradient, *map(float, trainer.apply(sums)), trainer.evaluate([batch])])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(ours).max())


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("mesh", [None, MeshSettings(data=2, fsdp=2, tp=2)])
def test_cudnn_is_what_a_gpu_would_call(monkeypatch, mesh, biased):
    """Lowered for a GPU that is not there, hence the version of a cuDNN that is not there either."""
    version = SimpleNamespace(cudnn_get_version=lambda: 91100)
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.cuda_versions", version)
    placed = make_mesh(mesh) if mesh else None

    def total(q, k, v, cos, sin, reach):
        bias = reach_bias(reach, jnp.bfloat16) if biased else None
        return jnp.sum(attend_plain(q, k, v, (cos, sin), "cudnn", bias, placed).astype(jnp.float32))

    q, k = (jax.ShapeDtypeStruct((4, 301, heads, 64), jnp.bfloat16) for heads in (6, 2))
    angles = jax.ShapeDtypeStruct((4, 64, 301), jnp.float32)
    reach = jax.ShapeDtypeStruct((4, 301), jnp.int32)
    traced = jax.jit(jax.grad(total, (0, 1, 2))).trace(q, k, k, angles, angles, reach)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    name = "fmhaScaleBiasSoftmax" if biased else "fmhaSoftmax"
    assert text.count(f"@__cudnn${name}(") == text.count(f"@__cudnn${name}Backward(") == 1


def test_the_choice_is_logged_once(tmp_path, caplog):
    base, data = hf_folder(tmp_path / "base"), write_sequences(tmp_path / "data", random_sequences(0, count=12))
    with caplog.at_level(logging.INFO, logger="jora_model"):
        train(job(base, data, tmp_path, epochs=1))
    assert [line for line in caplog.messages if line.startswith("attention: ")] == [
        f"attention: tiles (the backend is {backend_name()})"
    ]
