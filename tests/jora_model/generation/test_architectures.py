"""Every architecture answers as transformers does: its windows, caps and ropes in the KV cache too."""

import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.generation.generate import generate
from jora_model.generation.layer_weights import open_weights
from jora_model.spec.settings import GenerationSettings, LoraSettings
from testing.adapters import nonzero_adapter
from testing.families import CASES, VOCAB, family_folder, family_model
from testing.transformers_answers import greedy_tokens


def prompts(lengths: list[int]) -> list[np.ndarray]:
    """Two of them share their beginning."""
    random = np.random.default_rng(0)
    drawn = [random.integers(3, VOCAB, length, dtype=np.int32) for length in lengths]
    return [*drawn, np.append(drawn[-1][: lengths[-1] - 5], drawn[0][:7]).astype(np.int32)]


# The others are slow tests.
FAST = (("Gemma3ForCausalLM", 0), ("Phi3ForCausalLM", 1))
MARKED = [pytest.param(*case, marks=[] if case in FAST else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize(("name", "variant"), MARKED)
def test_greedy_tokens_equal_peft(tmp_path, name, variant):
    """Prompts shorter than the window, answers that cross it, and prompts beyond it; with an unmerged adapter."""
    import peft

    base = family_folder(tmp_path / "base", name, variant)
    lora = LoraSettings(rank=3, alpha=7.5, target_modules=("all-linear",))
    nonzero_adapter(tmp_path / "adapter", base, lora)
    model = open_weights(base, adapter=tmp_path / "adapter", compute_dtype=jnp.float32)
    asked = prompts([5, 30, 90])
    ours = generate(model, asked, GenerationSettings(max_new_tokens=16, batch_size=4), [])
    theirs = peft.PeftModel.from_pretrained(family_model(name, variant), tmp_path / "adapter").eval()
    for prompt, answer in zip(asked, ours, strict=True):
        np.testing.assert_array_equal(answer, greedy_tokens(theirs, prompt, 16), err_msg=f"{len(prompt)}")
