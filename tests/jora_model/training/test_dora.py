"""DoRA from the first update to the export: begun at the base, gone on from, resumed, sharded, merged, read by PEFT."""

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from jora_model.formats.export import CardFacts, Merged, export_adapter, merge
from jora_model.formats.lora import import_adapter, read_adapter, read_adapter_settings
from jora_model.generation.generate import generate
from jora_model.generation.layer_weights import weights_of
from jora_model.model.load import adapter_factors, adapter_magnitudes, load_model
from jora_model.model.transformer import Transformer
from jora_model.packing.tries import pack
from jora_model.runtime.sharding import make_mesh
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import ALL_LINEAR, GenerationSettings, LoraSettings, MeshSettings
from jora_model.training.step import Trainer
from jora_model.training.train import train
from testing.adapters import lengths_of, nonzero_adapter
from testing.peft_adapters import TOKENS, assert_close, logits_of, our_logits, their_logits, their_model, trained
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_model
from testing.train_jobs import LORA, SETTINGS, adapter_bytes, job, metrics

DORA = LORA.model_copy(update={"use_dora": True})
FACTS = CardFacts(base_model="embedded", examples=1, evaluation=None)


def dora_job(base, data, folder, **changes):
    return job(base, data, folder, **changes).model_copy(update={"lora": DORA})


def logits(model: Transformer) -> np.ndarray:
    positions = np.broadcast_to(np.arange(TOKENS.shape[1], dtype=np.int32), TOKENS.shape)
    reach = jnp.full(TOKENS.shape, TOKENS.shape[1], jnp.int32)
    return np.asarray(model.head(model.hidden_states(jnp.asarray(TOKENS), jnp.asarray(positions), reach)))


@pytest.fixture(scope="module")
def finished(base, data, tmp_path_factory):
    """A job's folder after twelve updates."""
    folder = tmp_path_factory.mktemp("finished")
    train(dora_job(base, data, folder))
    return folder


@pytest.mark.parametrize("mesh", [None, MeshSettings(data=2, fsdp=2, tp=2)])
def test_a_fresh_adapter_equals_the_base(base, mesh):
    lora = LoraSettings(target_modules=ALL_LINEAR, use_dora=True)
    model = load_model(base, lora=lora, mesh=None if mesh is None else make_mesh(mesh), compute_dtype="float32")
    expected = lengths_of(base, ALL_LINEAR)
    found = adapter_magnitudes(model)
    assert set(found) == set(ALL_LINEAR)
    for target, lengths in expected.items():
        np.testing.assert_allclose(found[target], lengths, rtol=1e-6)
    if mesh is None:
        np.testing.assert_allclose(logits(model), our_logits(base), rtol=1e-5, atol=1e-5)
    else:
        m = model.layers.linears["q_proj"].lora_m[...]
        assert m.sharding.shard_shape(m.shape) == (3, 64 // 2)
        m = model.layers.linears["o_proj"].lora_m[...]
        assert m.sharding.shard_shape(m.shape) == (3, 48 // 2)


def test_in_bf16_the_fresh_lengths_are_of_the_rounded_weights(base):
    model = load_model(base, lora=DORA)
    kernel = jax.lax.bitcast_convert_type(model.layers.linears["v_proj"].kernel[...], jnp.bfloat16)
    expected = np.linalg.norm(np.asarray(kernel, np.float32), axis=-1)
    np.testing.assert_allclose(adapter_magnitudes(model)["v_proj"], expected, rtol=1e-6)


def test_what_was_trained_is_merged_exported_and_read_by_peft(base, finished, tmp_path):
    """Folded into the weights, unmerged as it trains, merged, decoded, and in PEFT: the same model."""
    adapter = finished / "out"
    before, after = (
        load_file(folder) for folder in (base / "model.safetensors", adapter / "adapter_model.safetensors")
    )
    name = "model.layers.1.self_attn.v_proj"
    lengths = np.linalg.norm(before[f"{name}.weight"], axis=1)
    moved = after[f"base_model.model.{name}.lora_magnitude_vector"] - lengths
    assert np.abs(moved).min() > 0 and np.abs(moved).max() > 0.01, "m is trained"
    assert read_adapter_settings(adapter) == DORA
    export_adapter(adapter, tmp_path / "exported", FACTS)
    assert "| DoRA | yes |\n| dropout |" in (tmp_path / "exported" / "README.md").read_text()
    theirs = their_logits(tmp_path / "exported")
    assert np.abs(theirs - our_logits(base)).max() > 0.02 * np.abs(theirs).max(), "the adapter matters"
    assert_close(our_logits(base, adapter), theirs)
    unmerged = load_model(base, adapter=adapter, lora=DORA, compute_dtype="float32")
    assert_close(logits(unmerged), theirs)
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, 10**9)
    assert_close(our_logits(tmp_path / "merged"), theirs)
    assert_close(logits_of(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()), theirs)
    own = weights_of(unmerged).own
    assert own is not None and set(own.magnitudes) == set(DORA.target_modules)
    answer = generate(unmerged, [TOKENS[0, :20]], GenerationSettings(max_new_tokens=12), [])
    tokens = torch.tensor(TOKENS[:1, :20], dtype=torch.long)
    expected = their_model(adapter).generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, do_sample=False, eos_token_id=None
    )
    assert list(answer[0]) == expected[0, 20:].tolist()
    with pytest.raises(ValueError, match="holds DoRA, which is more than LoRA on linears"):
        read_adapter(adapter, ModelConfig.read(base))


def test_resumed_equals_uninterrupted(base, data, finished, tmp_path, monkeypatch):
    """Stopped after five of twelve updates, one past the last checkpoint."""
    real, calls = Trainer.apply, []

    def stop_at_six(self, sums):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(1)
        return real(self, sums)

    monkeypatch.setattr(Trainer, "apply", stop_at_six)
    with pytest.raises(KeyboardInterrupt):
        train(dora_job(base, data, tmp_path))
    monkeypatch.undo()
    train(dora_job(base, data, tmp_path))
    assert adapter_bytes(tmp_path) == adapter_bytes(finished)


MESHES = [MeshSettings(data=2, fsdp=2, tp=2), pytest.param(MeshSettings(data=4), marks=pytest.mark.slow)]


@pytest.mark.parametrize("mesh", MESHES)
def test_mesh_does_not_matter(base, tmp_path, mesh):
    lora = LoraSettings(rank=4, alpha=12.0, target_modules=ALL_LINEAR, use_dora=True)
    adapter = nonzero_adapter(tmp_path / "adapter", base, lora)
    sequences = random_sequences(0, count=24)

    def three_updates(mesh: MeshSettings | None) -> tuple[list[float], list[np.ndarray]]:
        placed = None if mesh is None else make_mesh(mesh)
        model = load_model(base, adapter=adapter, lora=lora, mesh=placed, compute_dtype="float32")
        trainer, losses = Trainer(model, SETTINGS, 3), []
        for update in range(3):
            sums = trainer.zero()
            rows = pack(sequences[8 * update : 8 * update + 8], SETTINGS.row_length).slice(0, 4)
            losses.append(float(trainer.apply(trainer.accumulate(sums, rows, update, 0))[0]))
        return losses, [np.asarray(leaf) for leaf in jax.tree.leaves(trainer.state.adapter)]

    alone, split = three_updates(None), three_updates(mesh)
    np.testing.assert_allclose(split[0], alone[0], rtol=1e-5)
    for ours, theirs in zip(split[1], alone[1], strict=True):
        assert np.mean(np.abs(ours - theirs) > 1e-4 * np.abs(theirs) + 2e-5) < 0.002


@pytest.mark.parametrize("layers", [{}, {"layers_to_transform": [0, 2]}])
def test_training_goes_on_from_an_adapter_of_peft(base, tmp_path, layers):
    """From PEFT's loss; what has no adapter stays as it is."""
    adapter = trained(
        tmp_path / "adapter", target_modules=["v_proj", "down_proj"], r=4, lora_alpha=12, use_dora=True, **layers
    )
    sequences = random_sequences(0, count=6)
    data = write_sequences(tmp_path / "data", sequences)
    theirs = peft.PeftModel.from_pretrained(hf_model(), adapter).eval()
    total = count = 0.0
    for sequence in sequences:
        tokens = torch.tensor(sequence.tokens, dtype=torch.long)[None]
        with torch.no_grad():
            surprise = -theirs(tokens).logits[0, :-1].log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0]
        mask = torch.tensor(np.asarray(sequence.loss_mask[1:]), dtype=torch.float32)
        total, count = total + float((surprise * mask).sum()), count + float(mask.sum())
    import_adapter(adapter, base, tmp_path / "imported", "base")
    run = dora_job(base, data, tmp_path, max_updates=2, weight_decay=0.1)
    train(run.model_copy(update={"start_from": str(tmp_path / "imported")}))
    losses = [row["loss"] for row in metrics(tmp_path)]
    assert losses[0] == pytest.approx(total / count, rel=1e-4)
    assert losses[1] < losses[0]
    old, new = (load_file(each / "adapter_model.safetensors") for each in (tmp_path / "imported", tmp_path / "out"))
    assert set(new) == set(old)
    assert len({name.split(".layers.")[1][0] for name in new}) == (2 if layers else 3)
    for name, tensor in new.items():
        assert np.isfinite(tensor).all()
        assert not np.array_equal(tensor, old[name]), name
    assert_close(our_logits(base, tmp_path / "out"), their_logits(tmp_path / "out"))


def test_a_trained_model_that_is_not_trained_further_has_plain_lora(base, finished):
    """DoRA's factors are in its weights: nothing is computed for them when it is evaluated."""
    model = load_model(base, adapter=finished / "out", compute_dtype="float32")
    assert not adapter_magnitudes(model) and not model.layers.row_lengths()
    assert set(adapter_factors(model)) == set(DORA.target_modules)
