"""Logits equal transformers'; a fresh adapter changes nothing; every fact of the config reaches the arithmetic."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jora_model.model.load import load_model
from jora_model.runtime.sharding import check_divisible, make_mesh, replicated_note
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import ALL_LINEAR, LoraSettings, MeshSettings
from testing.adapters import nonzero_adapter
from testing.tiny_models import VOCAB, hf_folder, hf_model

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 12345.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 3.0,
    "original_max_position_embeddings": 64,
}


def plain(tokens: np.ndarray) -> tuple[jnp.ndarray, jnp.ndarray, jnp.ndarray]:
    """Positions and reach of ordinary causal sequences."""
    positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    return jnp.asarray(tokens), jnp.asarray(positions), jnp.full(tokens.shape, tokens.shape[1], jnp.int32)


def tokens(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, VOCAB, shape, dtype=np.int32)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": True},
        {"rope_parameters": LLAMA3},
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1, "rms_norm_eps": 1e-2},
    ],
)
def test_logits_equal_transformers(tmp_path, changes):
    hf_folder(tmp_path, **changes)
    batch = tokens((2, 130))
    with torch.no_grad():
        theirs = hf_model(**changes)(torch.tensor(batch, dtype=torch.long)).logits.numpy()
    model = load_model(tmp_path, compute_dtype=jnp.float32)
    ours = np.asarray(model.head(model.hidden_states(*plain(batch))))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_mistral_without_sliding_window(tmp_path):
    import transformers

    facts = {
        "vocab_size": 100,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    facts.update(num_key_value_heads=2, rms_norm_eps=3e-4, sliding_window=None, max_position_embeddings=256)
    torch.manual_seed(0)
    theirs = transformers.MistralForCausalLM(transformers.MistralConfig(**facts)).eval()
    theirs.save_pretrained(tmp_path)
    batch = tokens((1, 40))
    with torch.no_grad():
        expected = theirs(torch.tensor(batch, dtype=torch.long)).logits.numpy()
    model = load_model(tmp_path, compute_dtype=jnp.float32)
    ours = np.asarray(model.head(model.hidden_states(*plain(batch))))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_fresh_adapter_changes_nothing(tmp_path):
    hf_folder(tmp_path)
    inputs = plain(tokens((1, 20)))
    base = load_model(tmp_path)
    tuned = load_model(tmp_path, lora=LoraSettings(target_modules=ALL_LINEAR))
    np.testing.assert_array_equal(base.hidden_states(*inputs), tuned.hidden_states(*inputs))


def test_adapter_equals_peft(tmp_path):
    """alpha != rank, B not zero, every target: the same logits as PEFT gives for the same folder."""
    import peft

    hf_folder(tmp_path / "base")
    lora = LoraSettings(rank=3, alpha=7.5, target_modules=ALL_LINEAR)
    nonzero_adapter(tmp_path / "adapter", tmp_path / "base", lora)
    batch = tokens((2, 33))
    theirs = peft.PeftModel.from_pretrained(hf_model(), tmp_path / "adapter").eval()
    with torch.no_grad():
        expected = theirs(torch.tensor(batch, dtype=torch.long)).logits.numpy()
    model = load_model(tmp_path / "base", adapter=tmp_path / "adapter", compute_dtype=jnp.float32)
    ours = np.asarray(model.head(model.hidden_states(*plain(batch))))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert model.layers.linears["q_proj"].scale == 2.5


def test_dropout_is_live_and_off_without_key(tmp_path):
    import jax

    hf_folder(tmp_path / "base")
    lora = LoraSettings(rank=3, dropout=0.5)
    adapter = nonzero_adapter(tmp_path / "adapter", tmp_path / "base", lora)
    model = load_model(tmp_path / "base", adapter=adapter, compute_dtype=jnp.float32)
    inputs = plain(tokens((1, 20)))
    off = np.asarray(model.hidden_states(*inputs))
    one, two = (
        np.asarray(model.hidden_states(*inputs, dropout_keys=jax.random.split(jax.random.key(s), len(inputs[0]))))
        for s in (0, 1)
    )
    assert not np.allclose(off, one)
    assert not np.allclose(one, two)


def test_reach_branches_equal_single_sequences(tmp_path):
    """Two branches on one prefix give what each sequence gives alone."""
    hf_folder(tmp_path)
    model = load_model(tmp_path, compute_dtype=jnp.float32)
    prefix, left, right = tokens((1, 10)), tokens((1, 6), 1), tokens((1, 7), 2)
    row = np.concatenate([prefix, left, right, np.zeros((1, 3), np.int32)], axis=1)
    positions = np.array([[*range(10), *range(10, 16), *range(10, 17), 0, 0, 0]], np.int32)
    reach = np.array([[23] * 10 + [16] * 6 + [23] * 7 + [24, 25, 26]], np.int32)
    packed = np.asarray(model.hidden_states(jnp.asarray(row), jnp.asarray(positions), jnp.asarray(reach)))
    for branch, start in ((left, 10), (right, 16)):
        alone = np.asarray(model.hidden_states(*plain(np.concatenate([prefix, branch], axis=1))))
        np.testing.assert_allclose(packed[:, start : start + branch.shape[1]], alone[:, 10:], rtol=1e-5, atol=1e-5)
    assert np.isfinite(packed).all()


@pytest.mark.parametrize("mesh", [MeshSettings(tp=2), MeshSettings(data=2, fsdp=2, tp=2), MeshSettings(fsdp=8)])
def test_sharded_equals_one_device(tmp_path, mesh):
    hf_folder(tmp_path)
    inputs = plain(tokens((8, 24)))
    lora = LoraSettings(target_modules=ALL_LINEAR)
    alone = load_model(tmp_path, lora=lora, compute_dtype=jnp.float32).hidden_states(*inputs)
    model = load_model(tmp_path, lora=lora, mesh=make_mesh(mesh), compute_dtype=jnp.float32)
    np.testing.assert_allclose(np.asarray(model.hidden_states(*inputs)), np.asarray(alone), rtol=1e-5, atol=1e-5)
    kernel = model.layers.linears["q_proj"].kernel[...]
    assert kernel.addressable_shards[0].data.shape == (3, 64 // mesh.tp, 48 // mesh.fsdp)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_act", "relu", "hidden_act='relu'"),
        ("eos_token_id", "2", "eos_token_id='2' must be a token id"),
        ("architectures", ["GPT2LMHeadModel"], "architecture 'GPT2LMHeadModel'"),
        ("rope_scaling", {"rope_type": "mrope", "factor": 2.0}, "rope type 'mrope'"),
        ("rope_interleaved", True, "rope_interleaved=True"),
        ("hidden_size", "48", "hidden_size='48' must be a positive integer"),
        ("vocab_size", None, "vocab_size is missing"),
    ],
)
def test_config_refuses_what_it_does_not_implement(tmp_path, key, value, message):
    config = json.loads((hf_folder(tmp_path) / "config.json").read_text())
    if key == "rope_scaling":
        del config["rope_parameters"]
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_hf({**config, key: value})


def test_heads_are_counted_not_their_width(tmp_path):
    config = ModelConfig.read(hf_folder(tmp_path, num_attention_heads=3, num_key_value_heads=3))
    with pytest.raises(ValueError, match=r"tp=2 does not divide.*attention heads \(3\)"):
        check_divisible(config, MeshSettings(tp=2))


def test_key_value_heads_divide_or_are_replicated(tmp_path):
    config = ModelConfig.read(hf_folder(tmp_path, num_attention_heads=8, num_key_value_heads=2))
    check_divisible(config, MeshSettings(tp=8))
    assert replicated_note(config, 8) == "2 key/value heads are fewer than tp=8: every device holds all of them"
    assert replicated_note(config, 2) is None
    # Of 12 query heads a device would have 3, which belong to two groups of 4.
    uneven = ModelConfig.read(hf_folder(tmp_path / "uneven", num_attention_heads=12, num_key_value_heads=3))
    with pytest.raises(ValueError, match=r"tp=4 neither divides the model's key/value heads \(3\)"):
        check_divisible(uneven, MeshSettings(tp=4))


def test_checkpoint_with_missing_tensor_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = hf_folder(tmp_path) / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"lacks 1 tensors: model.layers.1.mlp.up_proj.weight"):
        load_model(tmp_path)


def test_unknown_target_module():
    with pytest.raises(ValueError, match="query match no layer"):
        LoraSettings(target_modules=("query",))
    assert LoraSettings(target_modules="all-linear").target_modules == ("all-linear",)
