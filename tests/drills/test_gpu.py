"""The GPU computes what the references compute, the same bytes each time, and generates what transformers generates.

On a machine without one the drill runs the same code on the CPU, with a tiny model. Weights are random.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jora_model.generation.generate import generate
from jora_model.model.load import load_model
from jora_model.ops.attention import attend, visible
from jora_model.ops.plain_attention import Attention, attend_plain, backend_name, reach_bias
from jora_model.packing.sequences import Sequence
from jora_model.packing.tries import Rows, pack
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import GenerationSettings
from testing.command_line import Started
from testing.random_models import make_model
from testing.sequences import write_sequences

CUDA = jax.default_backend() == "gpu"
ROW = 3328 if CUDA else 1280
UPDATES, KILLED_AFTER = 6, 3
PROMPTS, NEW_TOKENS = 4, 24
NO_END = -1  # no token ends an answer: all have the same length


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_model("smollm2" if CUDA else "tiny", folder)
    return folder


@pytest.fixture(scope="module")
def sequences() -> list[Sequence]:
    """Contexts of 900 tokens, each with four questions and answers of 85."""
    random = np.random.default_rng(0)
    found = []
    for context in range(8):
        shared = random.integers(3, 40_000, 900)
        for question in range(4):
            own = random.integers(3, 40_000, 85)
            mask = np.arange(985) >= 930
            tokens = np.concatenate([shared, own]).astype(np.int32)
            found.append(Sequence(f"{context}.{question}", tokens, mask))
    return found


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference as a share of the largest number."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_attention_in_bf16_is_near_the_reference(base: Path, sequences: list[Sequence]) -> None:
    """Output and gradients of a packed row, against the dense reference in float32."""
    attention: Attention = "cudnn with bias" if backend_name() == "cuda" else "xla with bias"
    config, rows = ModelConfig.read(base), pack(sequences[:8], ROW).slice(0, 1)
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

        (_, out), gradients = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(*args)
        return [np.asarray(x, np.float32)[:, : rows.used] for x in (out, *gradients)]

    with jax.default_matmul_precision("highest"):
        reference = results(partial(attend, mask=visible(reach)), *(x.astype(jnp.float32) for x in (q, k, v)))
    bias = reach_bias(reach, jnp.bfloat16)
    ours = results(partial(attend_plain, rope=no_rotation, attention=attention, bias=bias), q, k, v)
    for name, a, b in zip(("out", "dq", "dk", "dv"), ours, reference, strict=True):
        print(f"figure attention_{name}_off {relative(a, b):.2e}")
        assert relative(a, b) < 0.02, f"{attention}: {name}"


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-4), ("bfloat16", 0.06)])
def test_logits_of_a_packed_row(base: Path, sequences: list[Sequence], dtype: str, limit: float) -> None:
    """Against transformers in float32, which sees one sequence at a time."""
    few = sequences[:3]
    packed = pack(few, ROW)
    attention = "cudnn with bias" if backend_name() == "cuda" and dtype == "bfloat16" else "xla with bias"
    model = load_model(base, compute_dtype=dtype)
    with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
        hidden = nnx.jit(lambda model, *rows: model.hidden_states(*rows, attention=attention))(
            model, *map(jnp.asarray, (packed.tokens, packed.positions, packed.reach))
        )
        ours = [np.asarray(model.head(hidden[row, at]), np.float32) for row, at in _positions(packed, few)]
    off = max(relative(a, b) for a, b in zip(ours, _their_logits(base, few), strict=True))
    print(f"figure logits_{dtype}_off {off:.2e}")
    assert off < limit


def test_training_again_and_killed_gives_the_same_bytes(base: Path, sequences: list[Sequence], tmp_path: Path) -> None:
    data = write_sequences(tmp_path / "data", sequences)
    whole, again, parted = (tmp_path / run for run in ("whole", "again", "parted"))
    _train(base, data, whole)
    _train(base, data, again)
    _train(base, data, parted, stop_after=KILLED_AFTER)
    _train(base, data, parted)
    adapters = [(run / "out" / "adapter_model.safetensors").read_bytes() for run in (whole, again, parted)]
    facts = json.loads((parted / "out" / "training.json").read_text())
    assert adapters[0] == adapters[1], "another run gave other bytes"
    assert adapters[0] == adapters[2], "a killed run gave other bytes"
    assert facts["updates_in_this_process"] < UPDATES


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_generates_what_transformers_generates(tmp_path: Path, sequences: list[Sequence], dtype: str) -> None:
    """In float32; in bfloat16 the first token at least."""
    make_model("smollm2" if CUDA else "tiny", tmp_path, tied=False)  # tied random weights repeat their last token
    prompts = [sequence.tokens[: 200 + 7 * n] for n, sequence in enumerate(sequences[:PROMPTS])]
    theirs = _their_answers(tmp_path, prompts)
    with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
        model = load_model(tmp_path, compute_dtype=dtype)
        ours = generate(model, prompts, GenerationSettings(max_new_tokens=NEW_TOKENS), [NO_END])
    agreed = [int((a == b).cumprod().sum()) for a, b in zip(ours, theirs, strict=True)]
    print(f"figure tokens_agreed_in_{dtype} {sum(agreed)} of {PROMPTS * NEW_TOKENS}")
    assert len(set(np.concatenate(theirs).tolist())) > NEW_TOKENS / 2, "the answers repeat a few tokens"
    assert agreed == [NEW_TOKENS] * PROMPTS if dtype == "float32" else any(agreed)


def _their_model(base: Path) -> tuple[Any, str]:
    """transformers' model in float32, and its device."""
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").to(
        device
    ), device


def _their_logits(base: Path, sequences: list[Sequence]) -> list[np.ndarray]:
    """The logits at each position that predicts an answer's token."""
    import torch

    model, device = _their_model(base)
    found = []
    with torch.no_grad():
        for sequence in sequences:
            tokens = torch.from_numpy(sequence.tokens[None].astype(np.int64)).to(device)
            found.append(model(tokens).logits[0].float().cpu().numpy()[_predicts(sequence)])
    return found


def _their_answers(base: Path, prompts: list[np.ndarray]) -> list[np.ndarray]:
    import torch

    model, device = _their_model(base)
    model.generation_config.eos_token_id = None
    found = []
    for prompt in prompts:
        ids = torch.from_numpy(prompt[None].astype(np.int64)).to(device)
        mask = torch.ones_like(ids)
        out = model.generate(ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)
        found.append(out[0, len(prompt) :].cpu().numpy())
    return found


def _predicts(sequence: Sequence) -> np.ndarray:
    """The positions that predict a token of the answer."""
    return np.flatnonzero(sequence.loss_mask[1:])


def _positions(rows: Rows, sequences: list[Sequence]) -> list[tuple[int, np.ndarray]]:
    """Row and positions that predict the answer's tokens of each sequence."""
    found = []
    for sequence in sequences:
        answer = sequence.tokens[_predicts(sequence) + 1]
        for row in range(len(rows)):
            real = rows.weights[row] > 0
            targets, at = rows.targets[row][real], rows.predict_at[row][real]
            starts = range(len(targets) - len(answer) + 1)
            start = next((s for s in starts if np.array_equal(targets[s : s + len(answer)], answer)), None)
            if start is not None:
                found.append((row, at[start : start + len(answer)]))
                break
    assert len(found) == len(sequences)
    return found


def _train(base: Path, sequences: Path, run: Path, stop_after: int | None = None) -> None:
    """Run a job to its end, or kill it after a number of updates."""
    run.mkdir(exist_ok=True)
    training = {
        "row_length": ROW,
        "examples_per_update": 16,
        "max_updates": UPDATES,
        "epochs": 9,
        "checkpoint_every": 1,
    }
    job = {
        "base": str(base),
        "base_name": "random",
        "sequences": str(sequences),
        "output": str(run / "out"),
        "checkpoints": str(run / "checkpoints"),
        "training": training,
    }
    (run / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "jora_model.training.train", str(run / "job.json")]
    metrics = run / "out" / "metrics.jsonl"
    with (run / "log").open("a") as log, Started(command, stdout=log, stderr=log) as process:
        while stop_after and process.poll() is None:
            if metrics.exists() and len(metrics.read_text().splitlines()) >= stop_after:
                process.kill()
                return
            time.sleep(0.02)
        assert process.wait() == 0, (run / "log").read_text()[-600:]
