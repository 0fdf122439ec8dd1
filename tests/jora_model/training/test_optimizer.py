"""Schedules, and updates that equal PEFT's with torch's AdamW."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import peft.optimizers
import pytest
import torch
import transformers

from jora_model.model.load import load_model
from jora_model.packing.tries import pack
from jora_model.training.optimizer import learning_rate_at
from jora_model.training.step import Trainer
from testing.adapters import nonzero_adapter
from testing.peft_reference import answer_losses, our_weights, weights_of_adapter
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


@pytest.mark.parametrize("updates", [1, 2, 20])
def test_no_warmup(updates):
    """The first update has the peak, as with transformers' warmup_steps=0."""
    steps = {"num_warmup_steps": 0, "num_training_steps": updates}
    for name, theirs in (
        ("constant", transformers.get_constant_schedule),
        ("linear", partial(transformers.get_linear_schedule_with_warmup, **steps)),
        ("cosine", partial(transformers.get_cosine_schedule_with_warmup, **steps)),
    ):
        factor = theirs(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)).lr_lambdas[0]
        expected = [0.01 * factor(update) for update in range(updates)]
        np.testing.assert_allclose(rates(updates, schedule=name, warmup_fraction=0.0), expected, rtol=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("updates", [1, 2, 3, 100])
def test_every_update_moves(schedule, warmup_fraction, updates):
    found = rates(updates, schedule=schedule, warmup_fraction=warmup_fraction)
    assert found.shape == (updates,)
    assert found.min() > 0
    assert found.max() <= 0.01 * (1 + 1e-6)


@pytest.mark.parametrize(("ratio", "use_dora"), [(1.0, False), (8.0, False), (8.0, True)])
def test_updates_equal_peft_and_torch(tmp_path, ratio, use_dora):
    """Three updates with clipping, decay, warm-up and LoRA+: the same weights as with PEFT's optimizer."""
    lora = LORA.model_copy(update={"use_dora": use_dora})
    settings = SETTINGS.model_copy(
        update={"lora_plus_ratio": ratio, "weight_decay": 0.1, "clip_norm": 0.5, "learning_rate": 1e-3}
    )
    base, sequences = hf_folder(tmp_path / "base"), random_sequences(0, count=18)
    # With B zero A would have no gradient, and Adam would turn its rounding errors into steps.
    nonzero_adapter(tmp_path / "adapter", base, lora)
    model = load_model(base, adapter=tmp_path / "adapter", lora=lora, compute_dtype=jnp.float32)
    trainer = Trainer(model, settings, 3)
    before = our_weights(trainer.model)
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
        torch.cat([answer_losses(theirs, sequence) for sequence in batch]).mean().backward()
        torch.nn.utils.clip_grad_norm_([p for p in theirs.parameters() if p.requires_grad], settings.clip_norm)
        optimizer.step()
    trained, expected = our_weights(trainer.model), weights_of_adapter(dict(theirs.named_parameters()))
    assert set(trained) == set(expected) == set(LORA.target_modules)
    for target, weights in expected.items():
        assert len(weights) == (3 if use_dora else 2)
        for ours, value, start in zip(trained[target], weights, before[target], strict=True):
            for layer in range(3):
                moved = np.abs(value - start)[layer].max()
                assert moved > 1e-4
                np.testing.assert_allclose(ours[layer], value[layer], rtol=1e-5, atol=1e-3 * moved, err_msg=target)
