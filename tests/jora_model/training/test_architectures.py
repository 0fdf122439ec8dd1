"""Every architecture trains as PEFT trains it: six updates on all its linears, plain and with shared prefixes."""

import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch

from jora_model.model.load import load_model
from jora_model.packing.sequences import Sequence
from jora_model.packing.tries import pack, pack_evenly
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings
from jora_model.training.optimizer import learning_rate_at
from jora_model.training.step import Trainer
from testing.adapters import nonzero_adapter
from testing.families import CASES, VOCAB, family_folder, family_model
from testing.peft_reference import answer_losses, our_weights, weights_of_adapter

UPDATES, ROW = 6, 256
RATE = 1e-3
SETTINGS = TrainSettings(
    learning_rate=RATE, schedule="constant", warmup_fraction=0, clip_norm=1e9, row_length=ROW, compute_dtype="float32"
)
LORA = LoraSettings(rank=3, alpha=7.5, target_modules=("all-linear",))
DORA = LORA.model_copy(update={"use_dora": True})


def examples(shared: int) -> list[list[Sequence]]:
    """Two examples an update, longer than the windows; their contexts are the same tokens or have nothing in common."""
    random = np.random.default_rng(5)
    batches = []
    for update in range(UPDATES):
        context = random.integers(3, VOCAB, shared)
        batch = []
        for number in range(2):
            own = random.integers(3, VOCAB, 100 - shared + 9 * number)
            tokens = np.append(context, own).astype(np.int32)
            batch.append(Sequence(f"{update}-{number}", tokens, np.arange(len(tokens)) >= len(tokens) - 12))
        batches.append(batch)
    return batches


# The others are slow tests.
FAST = (("Gemma2ForCausalLM", 0), ("Phi3ForCausalLM", 2))
MARKED = [
    pytest.param(*case, LORA, id="{}-{}".format(*case), marks=[] if case in FAST else pytest.mark.slow)
    for case in CASES
]
# One with biases, which DoRA does not scale, and one with fused projections.
WITH_DORA = [pytest.param(name, 0, DORA, id=f"{name}-0-dora") for name in ("Qwen2ForCausalLM", "Phi3ForCausalLM")]


@pytest.mark.parametrize("shared", [0, 70])
@pytest.mark.parametrize(("name", "variant", "lora"), MARKED + WITH_DORA)
def test_six_updates_equal_peft(tmp_path, name, variant, lora, shared):
    base = family_folder(tmp_path / "base", name, variant)
    # With B zero A would have no gradient, and Adam would turn its rounding errors into steps.
    nonzero_adapter(tmp_path / "adapter", base, lora)
    model = load_model(base, adapter=tmp_path / "adapter", lora=lora, compute_dtype=jnp.float32)
    trainer = Trainer(model, SETTINGS, UPDATES)
    start = our_weights(trainer.model)
    theirs = peft.PeftModel.from_pretrained(family_model(name, variant), tmp_path / "adapter", is_trainable=True)
    optimizer = torch.optim.AdamW((p for p in theirs.parameters() if p.requires_grad), lr=RATE, weight_decay=0)
    for update, batch in enumerate(examples(shared)):
        rows = pack(batch, ROW)
        assert (len(rows), int(rows.used)) == (1, 209 - shared)
        trainer.apply(trainer.accumulate(trainer.zero(), rows, update, 0))
        for group in optimizer.param_groups:
            group["lr"] = float(learning_rate_at(SETTINGS, UPDATES)(jnp.int32(update)))
        optimizer.zero_grad()
        torch.cat([answer_losses(theirs, sequence) for sequence in batch]).mean().backward()
        optimizer.step()
    trained, expected = our_weights(trainer.model), weights_of_adapter(dict(theirs.named_parameters()))
    assert set(trained) == set(expected)
    for target, weights in expected.items():
        assert len(weights) == (3 if lora.use_dora else 2)
        for ours, value, before in zip(trained[target], weights, start[target], strict=True):
            moved = np.sqrt(np.mean(np.square(value - before)))
            assert moved > RATE, target
            # Adam turns the rounding error of a gradient that is nearly 0 into a step: single numbers may differ, while
            # another gradient changes nearly all.
            assert np.mean(np.abs(ours - value) > 1e-3 * moved) < 0.005, target


def test_long_and_short_examples_do_not_share_a_row(tmp_path):
    """Of Phi-3's longrope, a sequence beyond the original length is rotated otherwise, from its first token on."""
    name, variant = "Phi3ForCausalLM", 1
    base = family_folder(tmp_path / "base", name, variant)
    nonzero_adapter(tmp_path / "adapter", base, LORA)
    model = load_model(base, adapter=tmp_path / "adapter", compute_dtype=jnp.float32)
    assert model.config.long_from == 64
    random = np.random.default_rng(5)
    prefix = random.integers(3, VOCAB, 40)
    batch = []
    for number, length in enumerate((64, 65, 50, 90)):
        tokens = np.append(prefix, random.integers(3, VOCAB, length - 40)).astype(np.int32)
        batch.append(Sequence(str(number), tokens, np.arange(length) >= 44))
    trainer = Trainer(model, SETTINGS, 1)
    rows = pack_evenly(batch, ROW, 1, trainer.config.long_from)
    assert sorted(rows.lengths.tolist()) == [40 + 24 + 10, 40 + 25 + 50]
    sums = trainer.zero()
    for number in range(len(rows)):
        sums = trainer.accumulate(sums, rows.slice(number, 1), 0, number)
    theirs = peft.PeftModel.from_pretrained(family_model(name, variant), tmp_path / "adapter")
    expected = sum(float(answer_losses(theirs, sequence).sum()) for sequence in batch)
    assert float(sums.loss) == pytest.approx(expected, rel=1e-5)
