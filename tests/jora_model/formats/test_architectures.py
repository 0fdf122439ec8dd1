"""Every architecture comes back from merge and export: the same bytes unadapted, PEFT's logits adapted."""

import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from jora_model.formats.cards import CardFacts
from jora_model.formats.export import Merged, export_adapter, merge
from jora_model.model.load import load_model
from jora_model.spec.settings import LoraSettings
from testing.adapters import nonzero_adapter
from testing.families import CASES, VOCAB, family_folder, family_model

LORA = LoraSettings(rank=3, alpha=7.5, target_modules=("all-linear",))
FACTS = CardFacts("mine", 1, None)
BATCH = np.random.default_rng(0).integers(3, VOCAB, (1, 90), dtype=np.int32)


def logits(model) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(BATCH, dtype=torch.long)).logits.numpy()


# The others are slow tests.
FAST = (("Gemma3ForCausalLM", 1), ("Phi3ForCausalLM", 0))
MARKED = [pytest.param(*case, marks=[] if case in FAST else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize(("name", "variant"), MARKED)
def test_merged_and_exported(tmp_path, name, variant):
    base = family_folder(tmp_path / "base", name, variant)
    nonzero_adapter(tmp_path / "zero", base, LORA, spread=0)
    merge(Merged(base, tmp_path / "zero"), base, tmp_path / "same", FACTS, 2**30)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "same"))
    assert {key: value.tobytes() for key, value in before.items()} == {k: v.tobytes() for k, v in after.items()}

    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    export_adapter(adapter, tmp_path / "exported", FACTS)
    expected = logits(peft.PeftModel.from_pretrained(family_model(name, variant), tmp_path / "exported").eval())
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, 2**30)
    scale = np.sqrt(np.mean(expected**2))
    loaded = getattr(transformers, name).from_pretrained(tmp_path / "merged", attn_implementation="eager")
    assert np.abs(logits(loaded) - expected).max() < 1e-4 * scale
    model = load_model(base, adapter=adapter, compute_dtype=jnp.float32)
    positions = jnp.arange(BATCH.shape[1], dtype=jnp.int32)[None]
    reach = jnp.full(BATCH.shape, BATCH.shape[1], jnp.int32)
    ours = np.asarray(model.head(model.hidden_states(jnp.asarray(BATCH), positions, reach)))
    assert np.abs(ours - expected).max() < 1e-4 * scale
