"""A config.json means what transformers reads in it, also where a fact stands twice or where nobody reads it."""

import json
from typing import Any

import numpy as np
import pytest
import transformers

from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import targets_of
from jora_model.spec.rope import Rope
from jora_model.spec.settings import LoraSettings
from testing.families import VARIANTS, family_model

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FACTORS = {"short_factor": [1.0 + n / 9 for n in range(6)], "long_factor": [2.0] * 6}
LONG = {**FACTORS, "rope_type": "longrope"}


def config_json(name: str, **changes: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(family_model(name).config.to_dict()))
    for key in ("rope_parameters", "layer_types"):
        config.pop(key, None)
    return {**config, "architectures": [name], **changes}


def their_rope(name: str, config: dict[str, Any], layer_type: str, length: int) -> tuple[np.ndarray, float]:
    """Inverse frequencies and the factor of cosine and sine in a sequence of this length."""
    import torch

    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class.from_dict(json.loads(json.dumps(config))))
    rotary, typed = model.model.rotary_emb, [layer_type] if layer_type else []
    rotary(torch.zeros(1, length, 1), torch.arange(length)[None], *typed)
    prefix = f"{layer_type}_" if layer_type else ""
    return getattr(rotary, f"{prefix}inv_freq").numpy(), float(getattr(rotary, f"{prefix}attention_scaling"))


@pytest.mark.parametrize("length", [20, 200])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("LlamaForCausalLM", {"rope_theta": 500.0}),
        ("LlamaForCausalLM", {"rope_scaling": YARN, "rope_parameters": {"rope_type": "default", "rope_theta": 777.0}}),
        ("LlamaForCausalLM", {"rope_parameters": {**YARN, "rope_theta": 777.0}, "rope_theta": 5.0}),
        ("LlamaForCausalLM", {"rope_scaling": YARN, "original_max_position_embeddings": 300}),
        ("LlamaForCausalLM", {"rope_scaling": LLAMA3, "original_max_position_embeddings": 100, "rope_theta": 500.0}),
        ("LlamaForCausalLM", {"rope_scaling": LLAMA3}),
        ("LlamaForCausalLM", {"rope_scaling": {"rope_type": "default", "type": "yarn", "factor": 4.0}}),
        ("LlamaForCausalLM", {"rope_scaling": {"type": "linear", "factor": 3.0}}),
        (
            "LlamaForCausalLM",
            {"rope_parameters": {"factor": 4.0, "partial_rotary_factor": 0.5}},
        ),
        ("LlamaForCausalLM", {"partial_rotary_factor": 0.5}),
        ("LlamaForCausalLM", {"rope_scaling": {}, "rope_parameters": {"rope_theta": 77.0}}),
        ("LlamaForCausalLM", {"rope_scaling": {**YARN, "mscale": 0.7, "mscale_all_dim": 0.3}}),
        ("LlamaForCausalLM", {"rope_scaling": {**YARN, "attention_factor": 1.3, "beta_fast": 10.0, "beta_slow": 2.0}}),
        ("LlamaForCausalLM", {"rope_scaling": {**YARN, "truncate": False}}),
        (
            "LlamaForCausalLM",
            {"head_dim": 12, "rope_scaling": {**LONG, "factor": 3.0, "original_max_position_embeddings": 64}},
        ),
        ("Qwen2ForCausalLM", {"rope_scaling": YARN, "rope_theta": 1e6}),
        ("Phi3ForCausalLM", {"rope_scaling": {**FACTORS, "type": "su", "original_max_position_embeddings": 64}}),
        ("Phi3ForCausalLM", {"rope_scaling": LONG}),
        ("Phi3ForCausalLM", {"partial_rotary_factor": 0.5, "rope_theta": 99.0}),
        ("Gemma3ForCausalLM", {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_local_base_freq": 55.0}),
        ("Gemma3ForCausalLM", {"rope_theta": 77.0}),
        ("Gemma3ForCausalLM", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
        ("Gemma3ForCausalLM", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 3.0}}),
        ("Olmo3ForCausalLM", {"rope_scaling": YARN, "rope_theta": 99.0}),
        ("Olmo3ForCausalLM", {"rope_parameters": {"full_attention": YARN, "sliding_attention": {"rope_theta": 5.0}}}),
        ("SmolLM3ForCausalLM", {}),
    ],
)
def test_ropes_equal_transformers(name, changes, length):
    config = config_json(name, **changes)
    ours = ModelConfig.from_hf(config)
    typed = name in ("Gemma3ForCausalLM", "Olmo3ForCausalLM")
    compared = 0
    for kind in ours.kinds:
        rope: Rope = ours.ropes[kind.rope]
        if rope.kind != "none":
            layer_type = ("sliding_attention" if kind.window else "full_attention") if typed else ""
            frequencies, factor = their_rope(name, config, layer_type, length)
            np.testing.assert_allclose(rope.frequencies(long=length > rope.original_positions), frequencies, rtol=2e-6)
            assert rope.attention_factor == pytest.approx(factor, rel=1e-6)
            compared += 1
    assert compared == (2 if typed else 1)


@pytest.mark.parametrize(
    ("name", "changes", "windows"),
    [
        ("Gemma2ForCausalLM", {"sliding_window_pattern": 3}, [9, None, 9, None, 9]),
        ("Gemma3ForCausalLM", {"sliding_window_pattern": 3}, [9, 9, None, 9, 9]),
        ("Gemma3ForCausalLM", {"_sliding_window_pattern": 3}, [9, 9, 9, 9, 9]),
        ("Olmo3ForCausalLM", {"sliding_window_pattern": 3}, [9, 9, 9, None, 9]),
        (
            "SmolLM3ForCausalLM",
            {"layer_types": ["sliding_attention"] * 2 + ["full_attention"] * 3},
            [9, 9] + [None] * 3,
        ),
        ("SmolLM3ForCausalLM", {"no_rope_layers": [1, 0, 1, 1, 0]}, [None] * 5),
        (
            "SmolLM3ForCausalLM",
            {"no_rope_layers": [1, 0, 1, 1, 0], "use_sliding_window": True},
            [None, 9, None, None, 9],
        ),
        ("Qwen2ForCausalLM", {"layer_types": ["sliding_attention"] * 5}, [None] * 5),
        ("Qwen3ForCausalLM", {"use_sliding_window": True, "max_window_layers": 3}, [None] * 3 + [9, 9]),
    ],
)
def test_windows_equal_transformers(name, changes, windows):
    config = config_json(name, num_hidden_layers=5, sliding_window=9)
    config = {key: value for key, value in config.items() if key != "no_rope_layers"} | changes
    theirs = getattr(transformers, name).config_class.from_dict(json.loads(json.dumps(config)))
    of_theirs = [theirs.sliding_window if kind == "sliding_attention" else None for kind in theirs.layer_types]
    ours = ModelConfig.from_hf(config)
    assert [ours.kinds[kind].window for kind in ours.layers] == of_theirs == windows


@pytest.mark.parametrize("name", VARIANTS)
def test_defaults_are_those_of_the_class(name):
    """Of a config.json that leaves out what it can."""
    needed = ("architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    config = config_json(name, hidden_size=512, num_attention_heads=32)
    config = {key: config[key] for key in (*needed, "num_attention_heads")}
    theirs, ours = getattr(transformers, name).config_class.from_dict(config), ModelConfig.from_hf(config)
    assert ours.num_kv_heads == theirs.num_key_value_heads
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or 16)
    assert ours.max_positions == theirs.max_position_embeddings
    assert ours.rms_norm_eps == theirs.rms_norm_eps
    assert ours.tie_embeddings == theirs.tie_word_embeddings
    ropes = theirs.rope_parameters
    of_theirs = {rope["rope_theta"] for rope in ropes.values()} if "rope_theta" not in ropes else {ropes["rope_theta"]}
    assert {rope.theta for rope in ours.ropes if rope.kind != "none"} == of_theirs


def test_mistral_without_sliding_window_has_one():
    config = config_json("MistralForCausalLM", max_position_embeddings=8192)
    del config["sliding_window"]
    assert [kind.window for kind in ModelConfig.from_hf(config).kinds] == [4096]
    assert [kind.window for kind in ModelConfig.from_hf({**config, "sliding_window": None}).kinds] == [None]


@pytest.mark.parametrize("name", VARIANTS)
def test_what_transformers_saves_is_read_without_notes(name):
    for variant in range(len(VARIANTS[name])):
        assert ModelConfig.from_hf(json.loads(family_model(name, variant).config.to_json_string())).notes == ()


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"_attn_implementation_autoset": True, "max_length": 20, "do_sample": False}, "_attn_implementation_autoset"),
        ({"layer_types": ["full_attention"] * 5}, "does not read are ignored: layer_types"),
        ({"max_sequence_length": 2048}, "max_sequence_length"),
        ({"attention_dropout": 0.1}, "attention_dropout=0.1"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling.Mine"}}, "auto_map"),
    ],
)
def test_what_nobody_reads_is_noted(changes, note):
    config = config_json("LlamaForCausalLM")
    noted = ModelConfig.from_hf({**config, **changes})
    assert noted == ModelConfig.from_hf(config)
    assert note in " ".join(noted.notes)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("LlamaForCausalLM", {"rope_interleaved": True}, "rope_interleaved=True is not implemented"),
        ("Gemma3ForCausalLM", {"use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ("Phi3ForCausalLM", {"resid_pdrop": 0.1}, "resid_pdrop=0.1"),
        ("LlamaForCausalLM", {"rope_scaling": "yarn"}, "rope_scaling='yarn' must be an object"),
        ("LlamaForCausalLM", {"rope_scaling": {"rope_type": "linear"}}, r"rope_parameters\.factor is missing"),
        ("LlamaForCausalLM", {"rope_scaling": {"rope_type": "linear", "factor": "2"}}, r"factor='2' must be a number"),
        ("LlamaForCausalLM", {"rope_scaling": {**YARN, "partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5"),
        ("Phi3ForCausalLM", {"rope_scaling": {**LONG, "long_factor": [1.0]}}, "long_factor has 1 numbers"),
        (
            "LlamaForCausalLM",
            {"rope_scaling": {"rope_type": "linear", "factor": 0}},
            r"factor=0 must be a number above 0",
        ),
        ("LlamaForCausalLM", {"rope_scaling": {**YARN, "rope_theta": 1}}, r"rope_theta=1 must be a number above 1"),
        ("LlamaForCausalLM", {"rope_scaling": {**LLAMA3, "high_freq_factor": 1.0}}, "they must differ"),
        (
            "Qwen2ForCausalLM",
            {"rope_parameters": {"full_attention": YARN}},
            r"rope_parameters\.full_attention is an object, and Qwen2ForCausalLM has one rotary embedding",
        ),
        (
            "Olmo3ForCausalLM",
            {"rope_parameters": {"full_attention": "yarn"}},
            r"full_attention='yarn' must be an object",
        ),
        ("Olmo3ForCausalLM", {"rope_scaling": YARN, "partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
        (
            "Phi3ForCausalLM",
            {"rope_scaling": LLAMA3},
            "'llama3' of Phi3ForCausalLM is not implemented; allowed are default",
        ),
        ("LlamaForCausalLM", {"hidden_act": {"silu": 1}}, "hidden_act={'silu': 1} is not implemented"),
        ("Qwen3ForCausalLM", {"layer_types": [["full_attention"]] * 5}, "layer_types must name 5 layers"),
        ("LlamaForCausalLM", {"num_hidden_layers": 10**30}, "must be a positive integer"),
        ("LlamaForCausalLM", {"num_hidden_layers": "4"}, "num_hidden_layers='4' must be a positive integer"),
        ("LlamaForCausalLM", {"tie_word_embeddings": "no"}, "tie_word_embeddings='no' must be true or false"),
        ("LlamaForCausalLM", {"eos_token_id": "2"}, "eos_token_id='2' must be a token id"),
        ("LlamaForCausalLM", {"eos_token_id": [2, None]}, "eos_token_id=.* must be a token id"),
        ("Qwen3ForCausalLM", {"layer_types": ["linear_attention"] * 5}, "layer_types must name 5 layers"),
    ],
)
def test_what_is_not_implemented_is_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_hf(config_json(name, **changes))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["MixtralForCausalLM"]}, "a mixture of experts"),
        ({"architectures": ["Qwen3MoeForCausalLM"]}, "a mixture of experts"),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, "a vision or audio tower"),
        ({"architectures": ["Qwen2_5_VLForConditionalGeneration"]}, "a vision or audio tower"),
        ({"architectures": ["JambaForCausalLM"]}, "state-space layers"),
        ({"architectures": ["MambaForCausalLM"]}, "state-space layers"),
        ({"architectures": ["GraniteMoeHybridForCausalLM"]}, "a mixture of experts"),
        ({"architectures": None}, "architecture None is not implemented"),
        ({"architectures": None, "model_type": ["llama"]}, "architecture None is not implemented"),
        ({"architectures": ["LlamaForCausalLM"], "model_type": "mistral"}, "transformers goes by the latter"),
    ],
)
def test_other_architectures_are_refused_by_name(config, kind):
    with pytest.raises(ValueError, match=kind):
        ModelConfig.from_hf(config)


def test_a_field_that_transformers_reads_and_we_do_not():
    """With its default it changes nothing; with another value it might."""
    config = config_json("Qwen3ForCausalLM")
    from jora_model.spec import config_fields as module

    hidden = module._READ - {"rms_norm_eps"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ", hidden)
        with pytest.raises(ValueError, match=r"rms_norm_eps=0\.0003 is read by transformers' Qwen3ForCausalLM"):
            ModelConfig.from_hf(config)
        assert ModelConfig.from_hf({**config, "rms_norm_eps": 1e-6}).rms_norm_eps == 1e-6


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("LlamaForCausalLM", ("qv",), ("q_proj", "v_proj")),
        ("LlamaForCausalLM", ("attention",), ("q_proj", "k_proj", "v_proj", "o_proj")),
        ("LlamaForCausalLM", ("mlp", "k_proj"), ("k_proj", "gate_proj", "up_proj", "down_proj")),
        ("Phi3ForCausalLM", ("qv",), ("qkv_proj",)),
        ("Phi3ForCausalLM", ("attention",), ("qkv_proj", "o_proj")),
        ("Phi3ForCausalLM", ("all-linear",), ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")),
        ("Phi3ForCausalLM", ("mlp",), ("gate_up_proj", "down_proj")),
    ],
)
def test_presets_of_targets(name, names, expected):
    config = ModelConfig.from_hf(config_json(name))
    assert targets_of(config, names) == expected
    assert LoraSettings(target_modules=names).of_model(config).target_modules == expected


def test_a_target_that_the_model_has_not():
    config = ModelConfig.from_hf(config_json("Phi3ForCausalLM"))
    with pytest.raises(ValueError, match="q_proj: Phi3ForCausalLM has no such linear; allowed are qkv_proj, o_proj,"):
        targets_of(config, ("q_proj",))
