"""The adapter alone as GGUF: added to the base's GGUF as llama.cpp adds it, it gives the merged model's weights."""

import gguf
import numpy as np
import pytest

from jora_model.formats.gguf_export import export_gguf
from jora_model.formats.gguf_lora import export_gguf_lora
from jora_model.formats.lora import import_adapter
from jora_model.formats.merged import Merged
from jora_model.generation.generate import generate
from jora_model.model.load import load_model
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import ALL_LINEAR, GenerationSettings, LoraSettings
from testing.adapters import nonzero_adapter
from testing.families import family_folder
from testing.peft_adapters import trained
from testing.small_runs import foreign_adapter
from testing.small_tokenizers import llama2_of_samples
from testing.tiny_models import hf_folder

LORA = LoraSettings(rank=3, alpha=7.5, use_rslora=True, target_modules=ALL_LINEAR)


def tensors(path):
    """Name -> tensor as it is stored, of a GGUF file."""
    return {
        tensor.name: np.asarray(tensor.data).reshape(tensor.shape[::-1]) for tensor in gguf.GGUFReader(path).tensors
    }


def field(path, name):
    return gguf.GGUFReader(path).get_field(name).contents()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base with the GGUF of its own weights, which an adapter without effect leaves as they are."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = llama2_of_samples()._tokenizer
    hf_folder(folder, vocab_size=len(tokenizer))
    tokenizer.save_pretrained(folder)
    none = nonzero_adapter(folder / "none", folder, LORA, spread=0)
    export_gguf(Merged(folder, none), folder, folder / "base.gguf", "f16", "base", None)
    return folder


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_base_and_adapter_are_the_merged_model(base, tmp_path, kind):
    """W + alpha / R * B A of each adapted weight, in llama.cpp's order of rows."""
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA)
    count = export_gguf_lora(adapter, base, tmp_path / "adapter.gguf", kind, "tuned", "apache-2.0")
    export_gguf(Merged(base, adapter), base, tmp_path / "merged.gguf", "f16", "merged", None)
    before, after, added = (
        tensors(path) for path in (base / "base.gguf", tmp_path / "merged.gguf", tmp_path / "adapter.gguf")
    )
    adapted = {name.removesuffix(".lora_a") for name in added if name.endswith(".lora_a")}
    assert count == len(adapted) == 3 * 7 and len(added) == 2 * count
    alpha = field(tmp_path / "adapter.gguf", "adapter.lora.alpha")
    assert alpha == pytest.approx(7.5 / 3**0.5 * 3), "llama.cpp divides by the rank, also where PEFT does not"
    for name, weight in after.items():
        expected = before[name].astype(np.float32)
        if name in adapted:
            a, b = (added[f"{name}.lora_{letter}"].astype(np.float32) for letter in "ab")
            assert added[f"{name}.lora_a"].dtype == {"f16": np.float16, "f32": np.float32}[kind]
            assert (a.shape[1], b.shape[0]) == expected.shape[::-1] and a.shape[0] == b.shape[1] == 3
            expected = expected + np.float32(alpha / b.shape[1]) * (b @ a)
            assert not np.array_equal(expected, before[name])
        np.testing.assert_allclose(weight, expected, atol=2e-3 * np.abs(expected).max(), err_msg=name)
    for key, value in (
        ("general.type", "adapter"),
        ("general.architecture", "llama"),
        ("adapter.type", "lora"),
        ("general.name", "tuned"),
        ("general.license", "apache-2.0"),
    ):
        assert field(tmp_path / "adapter.gguf", key) == value, key


def test_rows_of_a_rotated_projection_are_those_of_llama_cpp(base, tmp_path):
    """LlamaModel.permute of convert_hf_to_gguf.py, which convert_lora_to_gguf.py calls with B."""
    adapter = nonzero_adapter(
        tmp_path / "adapter", base, LORA.model_copy(update={"target_modules": ("q_proj", "k_proj")})
    )
    export_gguf_lora(adapter, base, tmp_path / "adapter.gguf", "f32", "tuned", None)
    added = tensors(tmp_path / "adapter.gguf")
    merged = Merged(base, adapter)
    for target, name, heads in (("q_proj", "attn_q", 4), ("k_proj", "attn_k", 2)):
        for layer in range(3):
            b = merged._factors[target][1][layer]
            out, rank = b.shape
            expected = b.reshape(heads, 2, out // heads // 2, rank).swapaxes(1, 2).reshape(b.shape)
            np.testing.assert_array_equal(added[f"blk.{layer}.{name}.weight.lora_b"], expected)
            assert not np.array_equal(expected, b)


@pytest.mark.parametrize(
    ("family", "name", "linear", "target"),
    [("Qwen2ForCausalLM", "qwen2", "attn_q", "q_proj"), ("Phi3ForCausalLM", "phi3", "attn_qkv", "qkv_proj")],
)
def test_an_architecture_that_llama_cpp_does_not_interleave(tmp_path, family, name, linear, target):
    base = family_folder(tmp_path / "base", family)
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA.model_copy(update={"target_modules": (target,)}))
    assert export_gguf_lora(adapter, base, tmp_path / "adapter.gguf", "f32", "tuned", None) == 5
    added, b = tensors(tmp_path / "adapter.gguf"), Merged(base, adapter)._factors[target][1]
    for layer in range(5):
        np.testing.assert_array_equal(added[f"blk.{layer}.{linear}.weight.lora_b"], b[layer])
    assert field(tmp_path / "adapter.gguf", "general.architecture") == name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_dora": True}, "holds DoRA, which llama.cpp's adapters cannot; set export.gguf_lora=none"),
        (
            {"modules_to_save": ["norm"]},
            "holds weights in place of the base model's, which llama.cpp's adapters cannot",
        ),
    ],
)
def test_what_a_gguf_adapter_cannot_hold_is_refused(tmp_path, config, message):
    base = hf_folder(tmp_path / "base")
    import_adapter(trained(tmp_path / "adapter", 0, **config), base, tmp_path / "imported", "base")
    with pytest.raises(ValueError, match=message):
        export_gguf_lora(tmp_path / "imported", base, tmp_path / "adapter.gguf", "f16", "tuned", None)
    assert not (tmp_path / "adapter.gguf").exists()


def test_values_beyond_float16_are_refused(base, tmp_path):
    adapter = nonzero_adapter(tmp_path / "adapter", base, LORA, spread=1e5)
    with pytest.raises(ValueError, match=r"has weights beyond the range of float16; set export\.gguf_lora=f32"):
        export_gguf_lora(adapter, base, tmp_path / "adapter.gguf", "f16", "tuned", None)
    export_gguf_lora(adapter, base, tmp_path / "adapter.gguf", "f32", "tuned", None)


@pytest.mark.slow
def test_llama_cpp_gives_our_greedy_tokens_with_it(smollm2, tmp_path):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is built from source, and is not needed")
    adapter = foreign_adapter(tmp_path / "adapter", ModelConfig.read(smollm2), spread=0.02)
    none = foreign_adapter(tmp_path / "none", ModelConfig.read(smollm2), spread=0)
    export_gguf(Merged(smollm2, none), smollm2, tmp_path / "base.gguf", "f16", "base", None)
    export_gguf_lora(adapter, smollm2, tmp_path / "adapter.gguf", "f16", "tuned", None)
    theirs = llama_cpp.Llama(
        str(tmp_path / "base.gguf"), lora_path=str(tmp_path / "adapter.gguf"), n_ctx=256, n_threads=2, verbose=False
    )
    prompt = theirs.tokenize(b"The capital of France is", add_bos=False)
    model = load_model(smollm2, adapter=adapter, compute_dtype="float32")
    settings = GenerationSettings(max_new_tokens=12, batch_size=1)
    (ours,) = generate(model, [np.array(prompt, np.int32)], settings, ())
    found = theirs.generate(prompt, temp=0.0, repeat_penalty=1.0)
    assert [next(found) for _ in range(12)] == ours.tolist()
