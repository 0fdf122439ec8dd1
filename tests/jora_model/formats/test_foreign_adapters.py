"""Adapters that PEFT trained: our logits are PEFT's, training goes on from the same loss, the rest is refused."""

import shutil

import numpy as np
import peft
import pytest
import torch

from jora_model.formats.lora import read_adapter, read_adapter_settings
from jora_model.model.load import load_model
from jora_model.spec.settings import LoraSettings
from jora_model.training.train import train
from testing.peft_adapters import ALL, edited, our_logits, their_logits, trained
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_folder, hf_model
from testing.train_jobs import job, metrics


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return hf_folder(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_rslora": True, "target_modules": ["q_proj", "down_proj"]},
        {"target_modules": r".*layers\.[02]\.self_attn\.(q|v)_proj"},
        {"target_modules": "all-linear"},
        {"layers_to_transform": [1], "target_modules": ["k_proj", "up_proj"]},
        {"rank_pattern": {"q_proj": 5, "layers.1.self_attn.o_proj": 2}, "alpha_pattern": {"v_proj": 1.5}},
        {"rank_pattern": {"q_proj": 6}, "use_rslora": True, "init_lora_weights": "gaussian"},
        {"rank_pattern": dict.fromkeys(ALL, 2)},
        {"dtype": np.float16},
    ],
    ids=lambda config: ",".join(config) or "plain",
)
def test_logits_are_those_of_peft(base, tmp_path, config):
    adapter = trained(tmp_path / "adapter", **config)
    theirs = their_logits(adapter)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(our_logits(base, adapter), theirs, rtol=1e-4, atol=1e-4 * scale)
    assert np.abs(theirs - our_logits(base)).max() > 0.02 * scale, "the adapter matters"


def test_settings_are_those_of_its_config(tmp_path):
    config = {"r": 4, "lora_alpha": 9, "lora_dropout": 0.25, "target_modules": ["v_proj", "q_proj"]}
    assert read_adapter_settings(trained(tmp_path, 0, **config)) == LoraSettings(
        rank=4, alpha=9, dropout=0.25, target_modules=("q_proj", "v_proj")
    )
    mixed = trained(tmp_path / "mixed", 0, rank_pattern={"q_proj": 5}, target_modules=["v_proj", "q_proj"])
    assert read_adapter_settings(mixed).rank == 5


@pytest.mark.parametrize("pattern", [{}, {"rank_pattern": {"v_proj": 2}, "layers_to_transform": [0, 2]}])
def test_training_goes_on_from_the_same_loss(base, tmp_path, pattern):
    """The first update's loss is PEFT's over the answers' tokens, and what the adapter leaves out stays out."""
    adapter = trained(tmp_path / "adapter", target_modules=["v_proj", "down_proj"], r=4, lora_alpha=12, **pattern)
    sequences = random_sequences(0, count=6)
    data = write_sequences(tmp_path / "data", sequences)
    model = peft.PeftModel.from_pretrained(hf_model(), adapter).eval()
    total = count = 0.0
    for sequence in sequences:
        tokens = torch.tensor(sequence.tokens, dtype=torch.long)[None]
        with torch.no_grad():
            surprise = -model(tokens).logits[0, :-1].log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0]
        mask = torch.tensor(np.asarray(sequence.loss_mask[1:]), dtype=torch.float32)
        total, count = total + float((surprise * mask).sum()), count + float(mask.sum())
    run = job(base, data, tmp_path, max_updates=2).model_copy(update={"start_from": str(adapter)})
    train(run)
    losses = [row["loss"] for row in metrics(tmp_path)]
    assert losses[0] == pytest.approx(total / count, rel=1e-4)
    assert losses[1] < losses[0]
    lora, factors = read_adapter(tmp_path / "out", load_model(base).config)
    assert (lora.rank, lora.alpha) == (4, 12)
    if pattern:
        assert not factors["v_proj"][0][1].any() and not factors["v_proj"][1][1].any(), "layer 1 has no adapter"
        assert not factors["v_proj"][0][:, 2:].any(), "v_proj has rank 2"


def test_a_start_is_a_part_of_the_job(base, tmp_path):
    """Another adapter in the folder is another job: its checkpoints are not mixed up with the first one's."""
    adapter = trained(tmp_path / "adapter", target_modules=["v_proj", "down_proj"], r=4, lora_alpha=12)
    data = write_sequences(tmp_path / "data", random_sequences(0, count=6))
    run = job(base, data, tmp_path, max_updates=1).model_copy(update={"start_from": str(adapter)})
    train(run)
    shutil.rmtree(adapter)
    trained(adapter, steps=1, target_modules=["v_proj", "down_proj"], r=4, lora_alpha=12)
    with pytest.raises(ValueError, match="holds checkpoints of another job"):
        train(run)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 5}, r"rank 5 and lora\.rank is 4; .*--set lora\.rank=5 --set lora\.alpha=12"),
        ({"lora_alpha": 3}, r"alpha 3 and lora\.alpha is 12; .*--set lora\.alpha=3"),
        ({"target_modules": ["q_proj"]}, r"lora\.target_modules is v_proj,down_proj; .*target_modules=q_proj"),
        ({"use_rslora": True}, r"use_rslora True and lora\.use_rslora is False"),
        ({"use_dora": True}, r"use_dora True and lora\.use_dora is False; .*--set lora\.use_dora=true"),
    ],
)
def test_settings_that_do_not_agree_are_refused(base, tmp_path, config, message):
    config = {"r": 4, "lora_alpha": 12, "target_modules": ["v_proj", "down_proj"], **config}
    adapter = trained(tmp_path / "adapter", 0, **config)
    data = write_sequences(tmp_path / "data", random_sequences(0, count=6))
    with pytest.raises(ValueError, match=message) as error:
        train(job(base, data, tmp_path).model_copy(update={"start_from": str(adapter)}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: edited(f, use_dora=True), "q_proj has no lora_magnitude_vector; .* says use_dora=True"),
        (lambda f: edited(f, modules_to_save=["lm_head"]), r"lacks base_model\.model\.lm_head\.weight"),
        (lambda f: edited(f, lora_bias=True), "lora_bias=True is not implemented"),
        (lambda f: edited(f, peft_type="IA3"), "peft_type='IA3' is not implemented; only 'LORA' is"),
        (lambda f: edited(f, trainable_token_indices=[1]), "lacks .*embed_tokens.token_adapter.trainable_tokens_delta"),
        (lambda f: edited(f, init_lora_weights="corda"), "'corda' has changed the base model's weights"),
        (lambda f: edited(f, init_lora_weights="lora_ga"), "let PEFT convert it to plain LoRA"),
        (lambda f: edited(f, init_lora_weights="pissa_niter_16"), "let PEFT convert it to plain LoRA"),
        (lambda f: edited(f, init_lora_weights="loftq"), "was trained on a quantized copy of the base model"),
        (lambda f: edited(f, init_lora_weights="magic"), "init_lora_weights='magic' is not known"),
        (lambda f: edited(f, something_new={"a": 1}), "something_new=.* is not implemented"),
        (lambda f: edited(f, r=4), "has rank 3; adapter_config.json says 4"),
        (lambda f: edited(f, r="many"), "r='many' is not what PEFT writes there"),
        (lambda f: edited(f, target_modules="(q_proj"), "target_modules: '.q_proj' is not a regular expression"),
        (lambda f: edited(f, rank_pattern={"(q_proj": 3}), "rank_pattern: '.q_proj' is not a regular expression"),
        (lambda f: edited(f, alpha_pattern=["q_proj"]), "alpha_pattern=.'q_proj'. must map module names to numbers"),
        (lambda f: edited(f, lora_dropout=1.5), "dropout: Input should be less than 1"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json is not JSON"),
        (lambda f: (f / "adapter_config.json").unlink(), "holds no adapter_config.json"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "holds no adapter_model.safetensors"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"1234567890"), "is damaged"),
        (
            lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
            "holds adapter_model.bin, a pickle, which may run any code",
        ),
        (lambda f: edited(f, target_modules=["q_proj", "v_proj"]), "lacks .*layers.0.self_attn.v_proj.lora_A"),
        (lambda f: edited(f, layers_to_transform=[0]), "holds unknown tensors: .*layers.1.self_attn.q_proj"),
    ],
)
def test_what_is_not_implemented_is_refused(base, tmp_path, spoil, message):
    adapter = trained(tmp_path / "adapter", 0, target_modules=["q_proj"])
    spoil(adapter)
    with pytest.raises(ValueError, match=message) as error:
        load_model(base, adapter=adapter)
    assert "\n" not in str(error.value)
    assert str(adapter) in str(error.value)
