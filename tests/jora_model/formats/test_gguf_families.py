"""Every architecture of llama.cpp comes back from GGUF; what it does not compute is refused."""

import json

import gguf
import numpy as np
import pytest
import torch
import transformers

from jora_model.formats.export import Merged
from jora_model.formats.gguf_export import export_gguf
from jora_model.formats.gguf_facts import same_context
from jora_model.formats.gguf_import import gguf_config, import_gguf
from jora_model.spec.architecture import ARCHITECTURES
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import LoraSettings
from testing.adapters import nonzero_adapter
from testing.families import CASES, family_folder
from testing.small_tokenizers import llama2_like
from user_error import UserError

LORA = LoraSettings(rank=3, alpha=7.5, target_modules=("all-linear",))
VOCAB = 600
BATCH = np.random.default_rng(0).integers(3, VOCAB, (1, 90), dtype=np.int32)
_LLAMA_CPP = {"tie_word_embeddings": True, "query_pre_attn_scalar": 16}
_NO_BIAS = {"attention_bias": False, "mlp_bias": False}
# (class, variant) -> settings that make it a model which llama.cpp computes.
CHANGES = {
    ("LlamaForCausalLM", 2): {"hidden_act": "silu"},
    ("SmolLM3ForCausalLM", 1): {"no_rope_layers": None, **_NO_BIAS},
    ("SmolLM3ForCausalLM", 2): {"no_rope_layer_interval": 4},
    ("Qwen3ForCausalLM", 1): _NO_BIAS,
    ("GemmaForCausalLM", 1): {**_LLAMA_CPP, **_NO_BIAS},
    ("Gemma2ForCausalLM", 0): _LLAMA_CPP,
    ("Gemma2ForCausalLM", 1): {
        **_LLAMA_CPP,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
        "num_hidden_layers": 6,
    },
    ("Gemma2ForCausalLM", 2): {**_LLAMA_CPP, "attn_logit_softcapping": 20.0, "final_logit_softcapping": 9.0},
    ("Gemma3ForCausalLM", 0): _LLAMA_CPP,
    ("Gemma3ForCausalLM", 1): {**_NO_BIAS, "query_pre_attn_scalar": 12, "layer_types": None},
    ("GraniteForCausalLM", 1): {},
    ("Olmo2ForCausalLM", 1): _NO_BIAS,
    ("Olmo3ForCausalLM", 0): {
        "rope_parameters": {
            "full_attention": {
                "rope_type": "yarn",
                "rope_theta": 9999.0,
                "factor": 3.0,
                "original_max_position_embeddings": 100,
            },
            "sliding_attention": {"rope_type": "default", "rope_theta": 9999.0},
        }
    },
    ("Olmo3ForCausalLM", 1): {
        "layer_types": ["sliding_attention", "full_attention"] * 3,
        "num_hidden_layers": 6,
        "rope_parameters": {
            name: {"rope_type": "default", "rope_theta": 12345.0} for name in ("full_attention", "sliding_attention")
        },
    },
}


def exported(folder, name, variant, kind="f16", **changes):
    """A random model of this class, and its GGUF file."""
    base = family_folder(folder / "base", name, variant, vocab_size=VOCAB, **changes)
    llama2_like()._tokenizer.save_pretrained(base)
    named = json.loads((base / "tokenizer_config.json").read_text())
    # Phi-3's default in transformers lies beyond this vocabulary.
    (base / "tokenizer_config.json").write_text(json.dumps(named | {"pad_token": "<unk>"}))
    nonzero_adapter(folder / "zero", base, LORA, spread=0)
    merged = Merged(base, folder / "zero")
    export_gguf(merged, base, folder / "model.gguf", kind, "tiny", None)
    return base, merged, folder / "model.gguf"


def logits(model) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(BATCH, dtype=torch.long)).logits.numpy()


def facts(config: ModelConfig):
    """What the layer reads, with numbers as float32 has them and ropes as they rotate."""
    left = ("notes", "ropes", "eos_token_ids", "architecture")
    found = {key: value for key, value in vars(config).items() if key not in left}
    rounded = {key: np.float32(value) if isinstance(value, float) else value for key, value in found.items()}
    scales = [np.float32(rope.attention_factor) for rope in config.ropes]
    return rounded | {"scales": scales, "widths": [rope.width for rope in config.ropes]}


def same_ropes(one: ModelConfig, other: ModelConfig) -> None:
    for ours, theirs in zip(one.ropes, other.ropes, strict=True):
        for long in (False, True):
            np.testing.assert_allclose(ours.frequencies(long), theirs.frequencies(long), rtol=2e-6)


def test_a_class_without_a_row_in_the_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"GGUF of SeedOssForCausalLM is not implemented; set export\.gguf=none"):
        exported(tmp_path, "SeedOssForCausalLM", 0)


@pytest.mark.parametrize(("name", "variant"), [case for case in CASES if case[0] != "SeedOssForCausalLM"])
def test_comes_back(tmp_path, name, variant):
    base, merged, path = exported(tmp_path, name, variant, **CHANGES.get((name, variant), {}))
    import_gguf(path, tmp_path / "back")
    back = ModelConfig.read(tmp_path / "back")
    assert facts(back) == facts(merged.config)
    # A Mistral without windows is a Llama.
    assert ARCHITECTURES[back.architecture].gguf == ARCHITECTURES[name].gguf
    assert back.architecture == name or "istral" in name
    assert back.eos_token_ids == (2,)
    same_ropes(back, merged.config)
    assert back == ModelConfig.from_hf(gguf_config(path))
    model_class = getattr(transformers, name)
    expected = model_class.from_pretrained(base, dtype=torch.float16, attn_implementation="eager").float()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "back", dtype=torch.float16, attn_implementation="eager"
    )
    assert loaded.config.dtype == torch.float16
    weights, others = expected.state_dict(), loaded.state_dict()
    assert set(weights) == set(others)
    for key, weight in weights.items():
        exact = "norm" not in key or "Gemma" not in name  # theirs were rounded with the one added
        assert torch.allclose(weight, others[key].float(), rtol=0 if exact else 1e-3, atol=0 if exact else 1e-6), key
    before, after = logits(expected), logits(loaded.float())
    assert np.abs(before - after).max() < (1e-5 if "Gemma" not in name else 2e-3) * np.sqrt(np.mean(before**2))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("LlamaForCausalLM", {"head_dim": 12}),
        ("Qwen2ForCausalLM", {}),
        ("Qwen3ForCausalLM", {"head_dim": 128}),
        ("Phi3ForCausalLM", {"sliding_window": None}),
        (
            "Gemma2ForCausalLM",
            {
                "head_dim": 256,
                "query_pre_attn_scalar": 256,
                "tie_word_embeddings": True,
                "attn_logit_softcapping": 50.0,
                "final_logit_softcapping": 30.0,
            },
        ),
        (
            "Gemma3ForCausalLM",
            {
                "head_dim": 256,
                "query_pre_attn_scalar": 256,
                "rope_parameters": {
                    "full_attention": {"rope_type": "default", "rope_theta": 12345.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                },
            },
        ),
    ],
)
def test_transformers_reads_the_same_model(tmp_path, name, changes):
    """Of what transformers reads: it takes the defaults of its config class for windows, caps and scales."""
    base, _, path = exported(tmp_path, name, 0, "f16", **changes)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    )
    expected = getattr(transformers, name).from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    assert type(theirs) is type(expected)
    with torch.no_grad():
        for weight in expected.parameters():
            if weight.ndim > 1:
                weight.copy_(weight.half())
    before, after = logits(expected), logits(theirs)
    assert np.abs(before - after).max() < 1e-4 * np.sqrt(np.mean(before**2))


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("LlamaForCausalLM", {"hidden_act": "gelu"}, "llama has the activation silu, not gelu"),
        ("Qwen2ForCausalLM", {"head_dim": 20}, "qwen2 has heads of 12 dims, not of 20"),
        ("Qwen3ForCausalLM", {"attention_bias": True}, "qwen3 has no biases of q_proj, k_proj, v_proj, o_proj"),
        ("GemmaForCausalLM", {"tie_word_embeddings": False}, "gemma has its embedding as head"),
        ("Gemma2ForCausalLM", {}, r"gemma2 scales scores by 1/sqrt\(16\), not by 0\.2085"),
        ("Gemma2ForCausalLM", {**_LLAMA_CPP, "attn_logit_softcapping": None}, "gemma2 caps scores and logits"),
        ("Gemma3ForCausalLM", {**_LLAMA_CPP, "attn_logit_softcapping": 3.0}, "gemma3 does not cap scores"),
        (
            "Gemma3ForCausalLM",
            {**_LLAMA_CPP, "layer_types": ["full_attention", *["sliding_attention"] * 7]},
            "gemma3 has windows in all layers but each n-th",
        ),
        ("Olmo2ForCausalLM", {"tie_word_embeddings": True}, "olmo2 needs a head of its own"),
        (
            "Olmo3ForCausalLM",
            {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5.0}}},
            "olmo2 has one theta for all layers",
        ),
        ("SmolLM3ForCausalLM", {"no_rope_layer_interval": 2}, "smollm3 has a rotary embedding in all layers but each"),
        (
            "Qwen2ForCausalLM",
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 1e4,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                }
            },
            "qwen2 has no rotary embedding of the kind llama3",
        ),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(tmp_path, name, changes, reason):
    with pytest.raises(UserError, match=rf"{reason}.*; set export\.gguf=none") as error:
        exported(tmp_path, name, 0, **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.gguf").exists()


def test_how_long_a_context_is_the_same_in_llama_cpp(tmp_path):
    def context(name, variant):
        folder = family_folder(tmp_path / f"{name}{variant}", name, variant)
        return same_context(ModelConfig.read(folder))

    assert context("LlamaForCausalLM", 0) == 1024
    assert context("MistralForCausalLM", 0) == 37
    assert context("Gemma2ForCausalLM", 0) == 1024
    assert context("Phi3ForCausalLM", 1) == 64


def test_published_llama_3_scaling_is_found(tmp_path):
    """Factor 8 of 3.1 and 32 of 3.2 differ in all but the high frequencies."""
    for factor in (8.0, 32.0):
        folder = tmp_path / str(factor)
        rope = {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        _, _, path = exported(folder, "LlamaForCausalLM", 0, rope_parameters=rope, head_dim=64)
        assert gguf_config(path)["rope_parameters"] == rope


def test_unknown_llama_3_scaling_is_refused(tmp_path):
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 7.7,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    _, _, path = exported(tmp_path, "LlamaForCausalLM", 0, rope_parameters=rope, head_dim=64)
    with pytest.raises(UserError, match=r"rope_freqs\.weight.*divisors of no known parameters"):
        gguf_config(path)


def test_query_scale_of_the_27b_models(tmp_path):
    """llama.cpp takes it from the number of layers; no field says it."""
    changes = {"num_hidden_layers": 46, "query_pre_attn_scalar": 12, "tie_word_embeddings": True}
    _, merged, path = exported(tmp_path, "Gemma2ForCausalLM", 0, **changes)
    assert gguf_config(path)["query_pre_attn_scalar"] == 12
    assert merged.config.query_scale == 12**-0.5


def test_ends_of_turns_end_answers(tmp_path):
    _, _, path = exported(tmp_path, "GemmaForCausalLM", 0)
    reader = gguf.GGUFReader(path)
    assert reader.fields["tokenizer.ggml.eos_token_id"].contents() == 2
    writer = gguf.GGUFWriter(tmp_path / "more.gguf", "gemma")
    for key, field in reader.fields.items():
        if key.startswith(("GGUF.", "general.architecture")):
            continue
        writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    writer.add_eot_token_id(7)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    import_gguf(tmp_path / "more.gguf", tmp_path / "back")
    for file in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "back" / file).read_text())["eos_token_id"] == [2, 7]


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GraniteForCausalLM", "SmolLM3ForCausalLM", "Qwen2ForCausalLM"])
def test_rows_are_in_llama_cpps_order(tmp_path, name):
    """Row 2n is row n of a head and row 2n + 1 is row n of its second half, in weights and in biases, where llama.cpp
    rotates neighbours (conversion/llama.py, LlamaModel.permute); Qwen's rows stay."""
    changes = {"attention_bias": True} if name in ("LlamaForCausalLM", "GraniteForCausalLM") else {}
    if name == "SmolLM3ForCausalLM":
        changes = {"tie_word_embeddings": True}
    _, merged, path = exported(tmp_path, name, 0, **changes)
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    config = merged.config
    half = config.head_dim // 2
    order = np.array(
        [head * 2 * half + row + part * half for head in range(4) for row in range(half) for part in (0, 1)]
    )
    if name == "Qwen2ForCausalLM":
        order = np.sort(order)
    for letter, heads in (("q", config.num_heads), ("k", config.num_kv_heads), ("v", 0)):
        for kind in ("weight", "bias"):
            hf_name = f"model.layers.3.self_attn.{letter}_proj.{kind}"
            if hf_name not in merged.shapes:
                assert kind == "bias" and not config.biases
                continue
            rows = order[: heads * config.head_dim] if heads else slice(None)
            expected = merged.wide(hf_name)[rows]
            dtype = np.float16 if kind == "weight" else np.float32
            assert np.array_equal(stored[f"blk.3.attn_{letter}.{kind}"], expected.astype(dtype)), hf_name
