"""Schedules, and updates that equal PEFT's with torch's AdamW."""

import jax.numpy as jnp
import numpy as np
import peft.optimizers
import pytest
import torch

from jora_model.formats.lora import write_adapter
from jora_model.model.load import adapter_factors, load_model
from jora_model.packing.tries import pack
from jora_model.training.optimizer import learning_rate_at
from jora_model.training.step import Trainer
from testing.sequences import random_sequences
from testing.tiny_models import hf_folder, hf_model
from testing.train_jobs import LORA, SETTINGS


def rates(updates, **changes):
    schedule = learning_rate_at(SETTINGS.model_copy(update=changes), updates)
    return np.asarray(schedule(np.arange(updates, dtype=np.float32)))


def test_schedules():
    rising = [0.002, 0.004, 0.006, 0.008]
    for name, after in (
        ("constant", np.ones(16)),
        ("linear", 1 - np.arange(16) / 16),
        ("cosine", 0.5 + 0.5 * np.cos(np.pi * np.arange(16) / 16)),
    ):
        found = rates(20, schedule=name, warmup_fraction=0.2)
        np.testing.assert_allclose(found, [*rising, *(0.01 * after)], rtol=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("updates", [1, 2, 3, 100])
def test_every_update_moves(schedule, warmup_fraction, updates):
    found = rates(updates, schedule=schedule, warmup_fraction=warmup_fraction)
    assert found.shape == (updates,)
    assert found.min() > 0
    assert found.max() <= 0.01 * (1 + 1e-6)


@pytest.mark.parametrize("ratio", [1.0, 8.0])
def test_updates_equal_peft_and_torch(tmp_path, ratio):
    """Three updates with clipping, decay, warm-up and LoRA+: the same factors as with PEFT's optimizer."""
    settings = SETTINGS.model_copy(
        update={"lora_plus_ratio": ratio, "weight_decay": 0.1, "clip_norm": 0.5, "learning_rate": 1e-3}
    )
    base, sequences = hf_folder(tmp_path / "base"), random_sequences(0, count=18)
    model = load_model(base, lora=LORA, compute_dtype=jnp.float32)
    # With B zero A would have no gradient, and Adam would turn its rounding errors into steps.
    random = np.random.default_rng(1)
    fresh = adapter_factors(model)
    factors = {name: (a, random.normal(0, 0.1, b.shape).astype(np.float32)) for name, (a, b) in fresh.items()}
    write_adapter(tmp_path / "adapter", factors, LORA, "tiny")

    trainer = Trainer(load_model(base, adapter=tmp_path / "adapter", compute_dtype=jnp.float32), settings, 3)
    theirs = peft.PeftModel.from_pretrained(hf_model(), tmp_path / "adapter", is_trainable=True).train()
    optimizer = peft.optimizers.create_loraplus_optimizer(
        theirs, torch.optim.AdamW, lr=settings.learning_rate, loraplus_lr_ratio=ratio, loraplus_weight_decay=0.1
    )
    factor_at = rates(3, learning_rate=settings.learning_rate) / settings.learning_rate
    peaks = [group["lr"] for group in optimizer.param_groups]
    for update in range(3):
        batch = sequences[6 * update : 6 * update + 6]
        trainer.apply(trainer.accumulate(trainer.zero(), pack(batch, 64).slice(0, 4), update, 0))
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * float(factor_at[update])
        optimizer.zero_grad()
        mean_loss(theirs, batch).backward()
        torch.nn.utils.clip_grad_norm_([p for p in theirs.parameters() if p.requires_grad], settings.clip_norm)
        optimizer.step()
    found = adapter_factors(trainer.model)
    trained = {name: value.detach().numpy() for name, value in theirs.named_parameters() if "lora_" in name}
    assert len(trained) == 2 * 2 * 3
    for name, value in trained.items():
        layer, target = int(name.split(".layers.")[1].split(".")[0]), name.split(".lora_")[0].rsplit(".", 1)[1]
        place = 0 if "lora_A" in name else 1
        moved = np.abs(value - factors[target][place][layer]).max()
        assert moved > 1e-4
        np.testing.assert_allclose(found[target][place][layer], value, rtol=1e-5, atol=1e-3 * moved, err_msg=name)


def mean_loss(model, batch) -> torch.Tensor:
    """Over all answer tokens of the examples, one at a time."""
    losses = []
    for sequence in batch:
        tokens = torch.tensor(sequence.tokens, dtype=torch.long)
        each = torch.nn.functional.cross_entropy(model(tokens[None]).logits[0, :-1], tokens[1:], reduction="none")
        losses.append(each[torch.tensor(sequence.loss_mask[1:])])
    return torch.cat(losses).mean()
