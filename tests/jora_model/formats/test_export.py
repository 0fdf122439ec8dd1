"""Exported folders load in peft and transformers and give our logits, with alpha != rank and B not zero."""

import json
import re
import shutil
from dataclasses import replace

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import peft
import pytest
import torch
import transformers
import yaml
from safetensors.numpy import load_file, save_file

from jora_model.formats.export import CardFacts, Merged, export_adapter, merge
from jora_model.formats.lora import read_adapter_settings
from jora_model.generation.probe import probe
from jora_model.model.load import load_model
from jora_model.spec.job import ProbeJob
from jora_model.spec.settings import ALL_LINEAR, LoraSettings
from testing.adapters import nonzero_adapter
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import VOCAB, hf_folder, hf_model
from user_error import UserError

FACTS = CardFacts(base_model="embedded", examples=1234, evaluation="| rung | F1 |\n|---|---|\n| tuned | 61.2 |")
LORA = LoraSettings(rank=3, alpha=7.5, target_modules=ALL_LINEAR)
WHOLE = 10**9


def make_base(folder, dtype=torch.float32, **changes):
    hf_model(**changes).to(dtype).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_text("{}")
    return folder


def our_logits(base, adapter=None):
    tokens = np.random.default_rng(0).integers(3, VOCAB, (2, 33), dtype=np.int32)
    positions = np.broadcast_to(np.arange(33, dtype=np.int32), tokens.shape)
    model = load_model(base, adapter=adapter, compute_dtype=jnp.float32)
    hidden = model.hidden_states(jnp.asarray(tokens), jnp.asarray(positions), jnp.full(tokens.shape, 33, jnp.int32))
    return torch.tensor(tokens, dtype=torch.long), np.asarray(model.head(hidden))


def assert_same(model, tokens, ours):
    with torch.no_grad():
        theirs = model.eval()(tokens).logits.numpy()
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4 * np.abs(ours).max())


@pytest.mark.parametrize(
    ("tied", "max_shard_bytes", "files"), [(False, WHOLE, 1), (True, WHOLE, 1), (False, 40_000, 4)]
)
def test_merged_folder_in_transformers(tmp_path, tied, max_shard_bytes, files):
    base = make_base(tmp_path / "base", tie_word_embeddings=tied)
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    tokens, ours = our_logits(base, adapter)
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, max_shard_bytes)
    assert_same(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged"), tokens, ours)
    assert np.abs(ours - our_logits(base)[1]).max() > 0.1
    # And in our own loader.
    np.testing.assert_allclose(our_logits(tmp_path / "merged")[1], ours, rtol=1e-4, atol=1e-4 * np.abs(ours).max())
    shards = sorted((tmp_path / "merged").glob("*.safetensors"))
    assert len(shards) >= files
    assert (tmp_path / "merged" / "model.safetensors.index.json").exists() == (files > 1)
    for shard in shards:
        tensors = load_file(shard)
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= max_shard_bytes
    for name in (
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ):
        assert (tmp_path / "merged" / name).read_bytes() == (base / name).read_bytes()


ENDS = (7, 5)  # of the tuned model, the one that was trained first


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({"eos_token_id": 2, "temperature": 0.5}, [2, 7, 5]),
        ({"eos_token_id": [2, 9]}, [2, 9, 7, 5]),
        ({"eos_token_id": 7}, 7),  # as it was
        ({"eos_token_id": [2, 7]}, [2, 7]),
        ({"temperature": 0.5}, [7, 5]),
        (None, [2, 7, 5]),  # without the file, config.json has it
    ],
)
def test_generation_ends_at_the_token_that_was_trained(tmp_path, kept, expected):
    base = make_base(tmp_path / "base")
    path = base / "generation_config.json"
    path.unlink()
    if kept is not None:
        path.write_text(json.dumps(kept))
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    merge(Merged(base, adapter), base, tmp_path / "merged", replace(FACTS, end_ids=ENDS), WHOLE)
    written = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert written["eos_token_id"] == expected
    assert written.get("temperature") == (kept or {}).get("temperature")
    read = transformers.GenerationConfig.from_pretrained(tmp_path / "merged")
    assert read.eos_token_id == expected
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "An answer ends with token 7: stop there (`eos_token_id=[7, 5]`)." in card


@pytest.mark.parametrize("kept", ["2", [2, "3"]])
def test_an_end_that_is_no_integer_is_named(tmp_path, kept):
    base = make_base(tmp_path / "base")
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": kept}))
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    with pytest.raises(ValueError, match=r"generation_config.json: eos_token_id is .*must be an integer, or a list"):
        merge(Merged(base, adapter), base, tmp_path / "merged", replace(FACTS, end_ids=ENDS), WHOLE)


def test_generate_stops_at_the_token_that_was_trained(tmp_path):
    base = make_base(tmp_path / "base")
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    prompt = torch.tensor([[5, 6, 7, 8]])

    def generated(ends):
        folder = tmp_path / f"merged{len(ends)}"
        merge(Merged(base, adapter), base, folder, replace(FACTS, end_ids=ends), WHOLE)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        tokens = model.generate(prompt, do_sample=False, max_new_tokens=12, pad_token_id=0)
        return tokens[0, prompt.shape[1] :].tolist()

    free = generated(())
    assert len(free) == 12
    end = free[3]
    assert generated((end,)) == free[: free.index(end) + 1]


def test_named_templates_are_copied(tmp_path):
    base = make_base(tmp_path / "base")
    (base / "additional_chat_templates").mkdir()
    (base / "additional_chat_templates" / "rag.jinja").write_text("of rag")
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, WHOLE)
    assert (tmp_path / "merged" / "additional_chat_templates" / "rag.jinja").read_text() == "of rag"


def test_a_card_says_what_the_template_was_given(tmp_path):
    base = make_base(tmp_path / "base")
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    options = ("enable_thinking=False", "date_string='26 Jul 2024'")
    facts = replace(FACTS, prompt="p", answer="a", template_options=options, prompt_date="2024-07-26")
    export_adapter(adapter, tmp_path / "out", facts)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "was given in training: `enable_thinking=False, date_string='26 Jul 2024'`." in card
    assert "In training that was 2024-07-26 on every day" in card


@pytest.mark.parametrize("use_rslora", [False, True])
def test_adapter_folder_in_peft(tmp_path, use_rslora):
    base = make_base(tmp_path / "base")
    adapter = nonzero_adapter(tmp_path / "trained", base, LORA.model_copy(update={"use_rslora": use_rslora}))
    export_adapter(adapter, tmp_path / "adapter", FACTS)
    tokens, ours = our_logits(base, adapter)
    assert_same(peft.PeftModel.from_pretrained(hf_model(), tmp_path / "adapter"), tokens, ours)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["use_rslora"]) == (3, 7.5, use_rslora)
    assert read_adapter_settings(tmp_path / "adapter").scale == pytest.approx(7.5 / (3**0.5 if use_rslora else 3))
    # Others know the embedded base by its Hugging Face id.
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_merged_with_the_scale_of_rslora(tmp_path):
    base = make_base(tmp_path / "base")
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA.model_copy(update={"use_rslora": True}))
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, WHOLE)
    assert_same(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged"), *our_logits(base, adapter))
    assert "| scale (alpha / sqrt(rank)) | 4.33013 |" in (tmp_path / "merged" / "README.md").read_text()


@pytest.mark.parametrize(("dtype", "numpy_dtype"), [(torch.bfloat16, ml_dtypes.bfloat16), (torch.float16, np.float16)])
def test_merged_once_in_float32_and_rounded_to_the_dtype_of_the_base(tmp_path, dtype, numpy_dtype):
    base = make_base(tmp_path / "base", dtype)
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA.model_copy(update={"target_modules": ("q_proj",)}))
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, WHOLE)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "merged"))
    factors = load_file(adapter / "adapter_model.safetensors")
    assert set(before) == set(after)
    for name, weight in before.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if "q_proj" in name:
            b, a = factors[f"{stem}.lora_B.weight"], factors[f"{stem}.lora_A.weight"]
            expected = (weight.astype(np.float32) + np.float32(2.5) * (b @ a)).astype(numpy_dtype)
            assert not np.array_equal(after[name], weight)
        else:
            expected = weight
        assert after[name].dtype == numpy_dtype
        np.testing.assert_array_equal(after[name].view(np.uint16), expected.view(np.uint16), err_msg=name)


@pytest.mark.parametrize("compute_dtype", ["bfloat16", "float32"])
def test_float16_is_merged_as_it_was_trained(tmp_path, compute_dtype):
    """In bfloat16 every weight was rounded to it; in float32 none."""
    base = make_base(tmp_path / "base", torch.float16)
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA.model_copy(update={"target_modules": ("q_proj",)}))
    merged = Merged(base, adapter, "base", compute_dtype)
    merge(merged, base, tmp_path / "merged", FACTS, WHOLE)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "merged"))
    factors = load_file(adapter / "adapter_model.safetensors")
    assert (merged.rounding is None) == (compute_dtype == "float32")
    for name, weight in before.items():
        trained = weight.astype(compute_dtype).astype(np.float32)
        if "q_proj" in name:
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            trained += np.float32(2.5) * (factors[f"{stem}.lora_B.weight"] @ factors[f"{stem}.lora_A.weight"])
        np.testing.assert_array_equal(after[name], trained.astype(np.float16), err_msg=name)
        np.testing.assert_array_equal(merged.wide(name), trained, err_msg=name)
        assert (compute_dtype == "float32" and "q_proj" not in name) == np.array_equal(after[name], weight)
    tokens, ours = our_logits(tmp_path / "merged")
    model = load_model(base, adapter=adapter, compute_dtype=jnp.float32, rounded=compute_dtype == "bfloat16")
    positions = np.broadcast_to(np.arange(33, dtype=np.int32), tokens.shape)
    hidden = model.hidden_states(tokens.numpy().astype(np.int32), positions, jnp.full(tokens.shape, 33, jnp.int32))
    trained = np.asarray(model.head(hidden))
    assert np.sqrt(np.mean((ours - trained) ** 2)) < 1e-3 * np.sqrt(np.mean(trained**2))


def test_an_export_beyond_float16_names_the_tensor(tmp_path):
    base = make_base(tmp_path / "base", torch.float16)
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA.model_copy(update={"alpha": 1e7}))
    with pytest.raises(
        UserError, match=r"model\.layers\.0\.\S+ has weights beyond the range of float16 .*export.dtype"
    ):
        merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, WHOLE)
    merge(Merged(base, adapter, "bf16"), base, tmp_path / "merged", FACTS, WHOLE)


def test_a_head_of_its_own_is_exported(tmp_path):
    base = make_base(tmp_path / "base", tie_word_embeddings=True)
    tensors = load_file(base / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] * np.float32(1.5)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    tokens, ours = our_logits(base, adapter)
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, WHOLE)
    after = load_file(tmp_path / "merged" / "model.safetensors")
    np.testing.assert_array_equal(after["lm_head.weight"], tensors["lm_head.weight"])
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["tie_word_embeddings"] is False
    assert_same(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged"), tokens, ours)


def test_same_input_same_bytes(tmp_path):
    base = make_base(tmp_path / "base")
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    for name in ("one", "two"):
        merge(Merged(base, adapter), base, tmp_path / name / "merged", FACTS, 40_000)
        export_adapter(adapter, tmp_path / name / "adapter", FACTS)
    files = [file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@pytest.mark.parametrize("base_model", ["embedded", "someone/some-model", "folder"])
def test_cards(tmp_path, base_model):
    base = make_base(tmp_path / "base")
    adapter = nonzero_adapter(tmp_path / "trained", base, LORA)
    name = str(base) if base_model == "folder" else base_model
    licence = "apache-2.0" if base_model == "embedded" else None
    facts = CardFacts(name, 1234, FACTS.evaluation, base_license=licence)
    export_adapter(adapter, tmp_path / "adapter", facts)
    merge(Merged(base, adapter), base, tmp_path / "merged", facts, WHOLE)
    known = {"embedded": "HuggingFaceTB/SmolLM2-135M-Instruct", "folder": None}.get(base_model, base_model)
    for folder, library in (("adapter", "peft"), ("merged", "transformers")):
        card = (tmp_path / folder / "README.md").read_text()
        _, front, body = re.split(r"^---$", card, maxsplit=2, flags=re.MULTILINE)
        head = yaml.safe_load(front)
        assert head["library_name"] == library
        # Hugging Face refuses a base that is no id of its own.
        assert head.get("base_model") == known
        assert head.get("license") == ("apache-2.0" if base_model == "embedded" else None)
        for fact in ("| examples | 1,234 |", "| rank | 3 |", "| alpha | 7.5 |", "| tuned | 61.2 |"):
            assert fact in body
        code = re.search(r"```python\n(.*?)```", body, re.DOTALL)
        assert code
        compile(code[1], "card", "exec")
        assert ("PeftModel" in code[1]) == (library == "peft")


def test_refuses_an_adapter_of_another_model(tmp_path):
    base = make_base(tmp_path / "base")
    other = hf_folder(tmp_path / "other", hidden_size=32)
    adapter = nonzero_adapter(tmp_path / "adapter", other, LORA)
    with pytest.raises(ValueError, match=r"has shape .* the base model needs"):
        merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, WHOLE)
    assert not (tmp_path / "merged").exists()


def test_refuses_no_adapter(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no adapter_config\.json"):
        export_adapter(tmp_path / "empty", tmp_path / "out", FACTS)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_export_that_computes_something_else_is_refused(tmp_path):
    """A merged folder without the adapter, and an adapter with another scale, against the trained model."""
    base = make_base(tmp_path / "base")
    adapter = nonzero_adapter(tmp_path / "trained", base, LORA)
    data = write_sequences(tmp_path / "data", random_sequences(0, count=3))
    whole = tmp_path / "whole"
    export_adapter(adapter, whole / "adapter", FACTS)
    merge(Merged(base, adapter, "bf16"), base, whole / "merged", FACTS, WHOLE)
    job = ProbeJob(
        base=str(base),
        adapter=str(adapter),
        export=str(whole),
        bounds={"adapter": 1e-6, "merged": 0.05},
        sequences=str(data),
        output=str(tmp_path / "found.json"),
    )
    probe(job)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["adapter"]["difference"] == 0 < found["merged"]["difference"]
    config = json.loads((whole / "adapter" / "adapter_config.json").read_text())
    (whole / "adapter" / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": True}))
    with pytest.raises(ValueError, match="the exported adapter model has other logits than the trained one"):
        probe(job)
    shutil.copy(base / "model.safetensors", whole / "merged" / "model.safetensors")
    with pytest.raises(ValueError, match=r"exported merged model .*, 0\.05 is allowed"):
        probe(job.model_copy(update={"bounds": {"merged": 0.05}}))
