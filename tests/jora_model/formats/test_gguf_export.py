"""The merged model as GGUF: our importer, transformers and llama.cpp read it as it was written."""

import json

import gguf
import numpy as np
import pytest
import torch
import transformers

from jora_model.formats.gguf_export import export_gguf, puts_before
from jora_model.formats.gguf_import import import_gguf
from jora_model.formats.gguf_vocabulary import vocabulary_of
from jora_model.formats.merged import Merged
from jora_model.formats.modelfile import modelfile
from jora_model.generation.generate import generate
from jora_model.model.load import load_model
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import GenerationSettings
from testing.small_runs import foreign_adapter
from testing.small_tokenizers import llama2_of_samples
from testing.tiny_models import hf_folder

QUESTIONS = (
    "What is the capital of France? Answer briefly.",
    "Name three colours.",
    "How many days has a week, and which 2 are the weekend?",
    "Write one sentence about the sea.",
)
AWKWARD = (
    "Hello, World!",
    "  two spaces\n\n1. First",
    "in 1984, 3.14159",
    "naïve café — “quotes” 日本語",
    "don't",
    "👩‍👩‍👧",
)


@pytest.fixture(scope="module")
def exported(smollm2, tmp_path_factory):
    """SmolLM2 with an adapter that changes its answers little, as GGUF of every kind."""
    folder = tmp_path_factory.mktemp("gguf")
    adapter = foreign_adapter(folder / "adapter", ModelConfig.read(smollm2), spread=0.003)
    merged = Merged(smollm2, adapter)
    for kind in ("q8_0", "bf16", "f16"):
        difference = export_gguf(merged, smollm2, folder / f"{kind}.gguf", kind, "tuned", "apache-2.0")
        assert 0 < difference < 0.004
    return folder


@pytest.mark.slow
def test_our_importer_reads_it_back(smollm2, exported, tmp_path):
    import_gguf(exported / "bf16.gguf", tmp_path)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / name).read_bytes() == (smollm2 / name).read_bytes(), name
    merged = Merged(smollm2, exported / "adapter", "bf16")
    back = Merged(tmp_path, exported / "adapter", "bf16")  # only to read tensors by name
    for name in ("model.layers.3.self_attn.q_proj.weight", "model.layers.7.self_attn.k_proj.weight"):
        read, written = back._checkpoint.slice(name)[:], merged.tensor(name)
        assert np.array_equal(read.view(np.uint16), written.view(np.uint16))


@pytest.mark.slow
def test_llama_cpp_gives_our_greedy_tokens(smollm2, exported):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is built from source, and is not needed")
    model = load_model(smollm2, adapter=exported / "adapter", compute_dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
        )
        for question in QUESTIONS
    ]
    settings = GenerationSettings(max_new_tokens=16, batch_size=4)
    ours = generate(model, [np.array(prompt, np.int32) for prompt in prompts], settings, (2,))
    # Of f16, since llama.cpp rounds what it multiplies to the weights' dtype: of bf16, near-ties come out otherwise.
    theirs = llama_cpp.Llama(str(exported / "f16.gguf"), n_ctx=256, n_threads=2, verbose=False)
    for text in AWKWARD:
        assert theirs.tokenize(text.encode(), add_bos=False, special=False) == tokenizer.encode(text), text
    for question, prompt, answer in zip(QUESTIONS, prompts, ours, strict=True):
        theirs.reset()
        found = []
        for token in theirs.generate(prompt, temp=0.0, repeat_penalty=1.0):
            found.append(token)
            if token == 2 or len(found) == 16:
                break
        assert found == answer.tolist(), question
    assert theirs.metadata["general.name"] == "tuned"
    assert theirs.metadata["general.license"] == "apache-2.0"
    assert theirs.metadata["tokenizer.chat_template"] == tokenizer.chat_template
    assert int(theirs.metadata["tokenizer.ggml.eos_token_id"]) == 2
    smaller = llama_cpp.Llama(str(exported / "q8_0.gguf"), n_ctx=256, n_threads=2, verbose=False)
    assert next(smaller.generate(prompts[0], temp=0.0)) == ours[0][0]


@pytest.fixture(scope="module")
def llama2(tmp_path_factory):
    """A tiny random model whose tokenizer is of Llama 2's kind, with an own head and rows that 32 does not divide."""
    folder = tmp_path_factory.mktemp("llama2")
    tokenizer = llama2_of_samples()._tokenizer
    hf_folder(folder, vocab_size=len(tokenizer) + 3, hidden_size=48, num_hidden_layers=2)
    tokenizer.save_pretrained(folder)
    foreign_adapter(folder / "adapter", ModelConfig.read(folder))
    return folder


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0"])
def test_logits_in_transformers(llama2, tmp_path, kind):
    """transformers widens what it reads; the rest is the rounding of the weights."""
    merged = Merged(llama2, llama2 / "adapter")
    export_gguf(merged, llama2, tmp_path / "model.gguf", kind, "tiny", None)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    tokens = np.random.default_rng(0).integers(3, 300, (1, 20), dtype=np.int32)
    model = load_model(llama2, adapter=llama2 / "adapter", compute_dtype="float32")
    positions = np.arange(20, dtype=np.int32)[None]
    ours = np.asarray(model.head(model.hidden_states(tokens, positions, np.full((1, 20), 20, np.int32))))
    with torch.no_grad():
        found = theirs(torch.tensor(tokens, dtype=torch.long)).logits.numpy()
    share = np.abs(found - ours).max() / np.abs(ours).max()
    assert share < {"f16": 0.01, "bf16": 0.05, "q8_0": 0.05}[kind]


def test_llama_cpp_cuts_text_as_llama_2_does(llama2, tmp_path):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is built from source, and is not needed")
    export_gguf(Merged(llama2, llama2 / "adapter"), llama2, tmp_path / "model.gguf", "f16", "tiny", None)
    theirs = llama_cpp.Llama(str(tmp_path / "model.gguf"), vocab_only=True, verbose=False)
    tokenizer = llama2_of_samples()._tokenizer
    for text in ("Who keeps the keys of the harbour?", "The mill opened in 1931.", "naïve 日本", "a  b\n\nc"):
        assert theirs.tokenize(text.encode(), add_bos=True, special=False) == tokenizer.encode(text), text
    assert puts_before(llama2) == "<s>"


def test_llama_3_scaling_is_a_tensor(tmp_path):
    """As llama.cpp reads it, and transformers computes it: old frequency / new frequency."""
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope["original_max_position_embeddings"] = 128
    tokenizer = llama2_of_samples()._tokenizer
    base = hf_folder(tmp_path / "base", vocab_size=len(tokenizer), rope_parameters=rope, max_position_embeddings=1024)
    tokenizer.save_pretrained(base)
    adapter = foreign_adapter(tmp_path / "adapter", ModelConfig.read(base))
    export_gguf(Merged(base, adapter), base, tmp_path / "model.gguf", "bf16", "tiny", None)
    (found,) = (t for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors if t.name == "rope_freqs.weight")
    rotary = transformers.AutoModelForCausalLM.from_pretrained(base).model.rotary_emb
    plain = 1 / 5e5 ** (np.arange(0, 16, 2) / 16)
    np.testing.assert_allclose(found.data, plain / rotary.inv_freq.numpy(), rtol=1e-5)
    assert len(set(found.data.tolist())) > 2, "old, new and in between"


def test_what_is_not_implemented_is_refused(smollm2, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((smollm2 / "tokenizer.json").read_bytes())
    fields = json.loads((tmp_path / "tokenizer.json").read_text())
    fields["pre_tokenizer"]["pretokenizers"].reverse()
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))
    with pytest.raises(
        ValueError, match=r"the pre-tokenizer ByteLevel and Digits is not implemented; set export\.gguf=none"
    ):
        vocabulary_of(tmp_path, 0)


def test_a_modelfile():
    text = modelfile("m.gguf", "<s><|user|>\n", "<|end|>\n", "<|end|>", 32_768, "<s>", "")
    assert 'FROM ./m.gguf\nTEMPLATE """<|user|>\n{{ .Prompt }}<|end|>\n"""\nPARAMETER stop "<|end|>"\n' in text
    assert "PARAMETER num_ctx 8192\n" in text and "SYSTEM" not in text
    assert 'SYSTEM """Answer."""\n' in modelfile("m", "{{ .System }}\n", "", "</s>", 100, None, "Answer.")
    with pytest.raises(ValueError, match="a Modelfile cannot express a prompt template"):
        modelfile("m", "{{ if }}", "", "</s>", 100, None, "")
