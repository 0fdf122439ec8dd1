"""Adapters of every family as PEFT has them: DoRA on all linears, own embeddings, heads, norms and biases."""

import warnings

import numpy as np
import peft
import pytest
import torch
import transformers

from jora_model.formats.export import CardFacts, Merged, merge
from jora_model.formats.lora import import_adapter
from jora_model.generation.engine import Request, open_engine
from jora_model.spec.settings import GenerationSettings
from testing.families import VARIANTS, family_folder, family_model
from testing.peft_adapters import TOKENS, assert_close, logits_of, our_logits

FACTS = CardFacts(base_model="embedded", examples=1, evaluation=None)
# Family and variant; the second ones have biases.
CASES = [("Qwen2ForCausalLM", 0), ("LlamaForCausalLM", 1), *((name, 0) for name in VARIANTS if "Qwen2" not in name)]
CONFIGS = {
    "dora": {"use_dora": True, "target_modules": "all-linear"},
    "mixed": {"target_modules": ["o_proj", "embed_tokens"], "modules_to_save": ["lm_head", "norm"], "bias": "all"},
}
FAST = [("Qwen2ForCausalLM", 0, "mixed"), ("Phi3ForCausalLM", 0, "dora")]
RUNS = [(*case, name) for case in CASES for name in CONFIGS]


@pytest.mark.parametrize(
    ("family", "variant", "name"),
    [pytest.param(*run, marks=() if run in FAST else pytest.mark.slow) for run in RUNS],
)
def test_logits_of_adapter_merge_and_import_are_those_of_peft(tmp_path, family, variant, name):
    base, adapter = family_folder(tmp_path / "base", family, variant), tmp_path / "adapter"
    torch.manual_seed(1)
    config = peft.LoraConfig(r=3, lora_alpha=7.5, task_type="CAUSAL_LM", **CONFIGS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's advice on tied weights, and on biases
        model = peft.get_peft_model(family_model(family, variant), config)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.03)
        tokens = torch.tensor(TOKENS, dtype=torch.long)
        for _ in range(2):
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        model.save_pretrained(adapter)

        def in_peft(folder):
            return logits_of(peft.PeftModel.from_pretrained(family_model(family, variant), folder).eval())

        theirs = in_peft(adapter)
        assert np.abs(theirs - our_logits(base)).max() > 0.02 * np.abs(theirs).max(), "the adapter matters"
        assert_close(our_logits(base, adapter), theirs)
        merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, 10**9)
        merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", attn_implementation="eager")
        assert_close(logits_of(merged.eval()), theirs)
        import_adapter(adapter, base, tmp_path / "imported", "base")
        assert_close(in_peft(tmp_path / "imported"), theirs)


@pytest.mark.slow
def test_an_engine_does_not_scale_biases(tmp_path):
    """DoRA's factors are those of W's rows; the bias is added after them, as in PEFT."""
    base, family = family_folder(tmp_path / "base", "Qwen2ForCausalLM"), "Qwen2ForCausalLM"
    torch.manual_seed(1)
    config = peft.LoraConfig(r=3, task_type="CAUSAL_LM", use_dora=True, target_modules=["q_proj", "v_proj", "up_proj"])
    model = peft.get_peft_model(family_model(family), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "magnitude" in name:
                weight.mul_(1.5)
    model.save_pretrained(tmp_path / "adapter")
    tokens = torch.tensor(TOKENS[:1, :20], dtype=torch.long)
    theirs = model.eval().generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=10,
        do_sample=False,
        eos_token_id=None,
    )
    engine = open_engine(base, {"tuned": tmp_path / "adapter"}, alone=False, slots=2, compute_dtype="float32")
    engine.submit(Request(TOKENS[0, :20], GenerationSettings(max_new_tokens=10), (), "tuned"))
    answer = [token for _ in range(30) if not engine.idle for _, token, _ in engine.step()]
    assert answer == theirs[0, 20:].tolist()
