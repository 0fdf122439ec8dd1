"""What PEFT adapters hold besides LoRA on the layers: our logits are those of PEFT, adapted, merged and imported."""

import json
import re

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from jora_model.formats.export import CardFacts, Merged, export_adapter, merge
from jora_model.formats.gguf_export import export_gguf
from jora_model.formats.lora import fresh_adapter, import_adapter, write_adapter
from jora_model.generation.engine import Engine, Request, load_adapter, open_engine
from jora_model.model.load import load_model
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import GenerationSettings, LoraSettings
from testing.peft_adapters import (
    TOKENS,
    assert_close,
    edited,
    logits_of,
    our_logits,
    rewritten,
    their_logits,
    their_model,
    trained,
)
from testing.small_tokenizers import llama2_of_samples
from testing.tiny_models import hf_folder, hf_model

FACTS = CardFacts(base_model="embedded", examples=1, evaluation=None)
SETTINGS = GenerationSettings(max_new_tokens=12)
Q = ["q_proj"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """By whether the head is tied to the embedding."""
    folder = tmp_path_factory.mktemp("bases")
    return {tied: hf_folder(folder / str(tied), tie_word_embeddings=tied) for tied in (False, True)}


FEATURES = {
    "lm_head": {"target_modules": [*Q, "lm_head"]},
    "embed": {"target_modules": [*Q, "embed_tokens"]},
    "both": {"target_modules": [*Q, "embed_tokens", "lm_head"]},
    "dora": {"use_dora": True, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    "dora_of_all": {"use_dora": True, "target_modules": [*Q, "embed_tokens", "lm_head"], "use_rslora": True},
    "dora_of_a_layer": {
        "use_dora": True,
        "target_modules": ["k_proj", "up_proj"],
        "layers_to_transform": [1],
        "rank_pattern": {"k_proj": 5},
        "alpha_pattern": {"up_proj": 2},
    },
    "saved_head": {"target_modules": Q, "modules_to_save": ["lm_head"]},
    "saved_embedding": {"target_modules": Q, "modules_to_save": ["embed_tokens"]},
    "saved_both": {"target_modules": Q, "modules_to_save": ["embed_tokens", "lm_head"]},
    "saved_norms": {"target_modules": Q, "modules_to_save": ["norm", "o_proj"]},
    "tokens": {"target_modules": Q, "trainable_token_indices": [3, 50]},
    "tokens_of_the_head": {"target_modules": Q, "trainable_token_indices": {"lm_head": [3, 50]}},
    "tokens_of_both": {"target_modules": Q, "trainable_token_indices": {"embed_tokens": [4], "lm_head": [3, 50]}},
    "same_tokens": {"target_modules": Q, "trainable_token_indices": {"embed_tokens": [4], "lm_head": [4]}},
    "pissa": {"target_modules": ["q_proj", "down_proj"], "init_lora_weights": "pissa"},
    "olora": {"target_modules": ["q_proj", "down_proj"], "init_lora_weights": "olora", "rank_pattern": {"q_proj": 2}},
    "dora_pissa": {"target_modules": Q, "use_dora": True, "init_lora_weights": "pissa", "use_rslora": True},
    "mica": {"target_modules": Q, "init_lora_weights": "mica"},
    "bias": {"target_modules": Q, "bias": "all"},
}
TIED = {
    "tied_embed": {"target_modules": [*Q, "embed_tokens"], "ensure_weight_tying": True},
    "tied_saved": {"target_modules": Q, "modules_to_save": ["lm_head"], "ensure_weight_tying": True},
    "tied_tokens": {"target_modules": Q, "trainable_token_indices": [5], "ensure_weight_tying": True},
}
FAST = ("dora_of_a_layer", "both", "tokens", "olora", "saved_norms", "tied_saved")
CASES = [(False, name) for name in FEATURES] + [(True, name) for name in (*FEATURES, *TIED)]


@pytest.mark.parametrize(
    ("tied", "name"),
    [pytest.param(*case, marks=() if case[1] in FAST else pytest.mark.slow) for case in CASES],
)
def test_logits_of_adapter_merge_and_import_are_those_of_peft(bases, tmp_path, tied, name):
    base = bases[tied]
    adapter = trained(tmp_path / "adapter", tied=tied, **(FEATURES | TIED)[name])
    theirs = their_logits(adapter, tied)
    assert np.abs(theirs - our_logits(base)).max() > 0.02 * np.abs(theirs).max(), "the adapter matters"
    assert_close(our_logits(base, adapter), theirs)
    merge(Merged(base, adapter), base, tmp_path / "merged", FACTS, 10**9)
    assert_close(logits_of(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()), theirs)
    assert_close(our_logits(tmp_path / "merged"), theirs)
    import_adapter(adapter, base, tmp_path / "imported", "base")
    assert_close(their_logits(tmp_path / "imported", tied), theirs)
    assert_close(our_logits(base, tmp_path / "imported"), theirs)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "lm_head.weight"])
def test_a_weight_that_is_stored_beside_the_adapter_is_the_base_s(bases, tmp_path, tied, name):
    """As PEFT saves resized embeddings (save_embedding_layers): of tied ones, one stands for both."""
    adapter = trained(tmp_path / "adapter", tied=tied, target_modules=Q)
    path = adapter / "adapter_model.safetensors"
    weight = np.random.default_rng(0).normal(0, 0.2, (104, 48)).astype(np.float32)
    save_file({**load_file(path), f"base_model.model.{name}": weight}, path)
    theirs = their_logits(adapter, tied)
    assert_close(our_logits(bases[tied], adapter), theirs)
    import_adapter(adapter, bases[tied], tmp_path / "imported", "base")
    assert_close(their_logits(tmp_path / "imported", tied), theirs)


def test_the_card_names_what_other_tools_cannot_take(bases, tmp_path):
    import_adapter(trained(tmp_path / "adapter", 0, **FEATURES["both"]), bases[False], tmp_path / "imported", "base")
    export_adapter(tmp_path / "imported", tmp_path / "exported", FACTS)
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "It holds weights in place of the base model's (lm_head, model.embed_tokens); for other tools" in card
    assert "vllm" not in card


def test_gguf_of_a_head_that_was_tied(tmp_path):
    """transformers reads the head of its own, and the embedding as it was."""
    tokenizer = llama2_of_samples()._tokenizer
    base = hf_folder(tmp_path / "base", vocab_size=len(tokenizer), tie_word_embeddings=True)
    tokenizer.save_pretrained(base)
    config = ModelConfig.read(base)
    head = np.random.default_rng(0).normal(0, 0.1, (config.vocab_size, config.hidden_size)).astype(np.float32)
    lora = LoraSettings(rank=2)
    write_adapter(tmp_path / "adapter", fresh_adapter(config, lora, 0), lora, "base", whole={"lm_head.weight": head})
    export_gguf(Merged(base, tmp_path / "adapter"), base, tmp_path / "model.gguf", "f16", "tiny", None)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    np.testing.assert_allclose(theirs.lm_head.weight.detach().numpy(), head, atol=1e-3)
    embedding = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    np.testing.assert_allclose(theirs.model.embed_tokens.weight.detach().numpy(), embedding, atol=1e-3)


@pytest.mark.parametrize("name", ["lm_head", "saved_both", "same_tokens", "tied_saved"])
def test_a_tied_head_stays_tied_only_if_it_still_equals_the_embedding(bases, tmp_path, name):
    adapter = trained(tmp_path / "adapter", tied=True, **(FEATURES | TIED)[name])
    merge(Merged(bases[True], adapter), bases[True], tmp_path / "merged", FACTS, 10**9)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    stays = name in ("same_tokens", "tied_saved")
    assert config["tie_word_embeddings"] is stays
    assert ("lm_head.weight" in load_file(tmp_path / "merged" / "model.safetensors")) is not stays


def greedy(model):
    """The greedy answer of transformers to the first tokens."""
    tokens = torch.tensor(TOKENS[:1, :20], dtype=torch.long)
    found = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=12, do_sample=False, eos_token_id=None
    )
    return found[0, 20:].tolist()


def test_an_engine_answers_with_dora_beside_others(bases, tmp_path):
    """Each answer is that of PEFT's model, whatever the others are; the base's is untouched."""
    base = bases[False]
    adapters = {
        "dora": trained(tmp_path / "dora", use_dora=True, target_modules=["q_proj", "v_proj", "down_proj"]),
        "partial": trained(tmp_path / "partial", **FEATURES["dora_of_a_layer"]),
        "lora": trained(tmp_path / "lora", target_modules=["v_proj", "gate_proj"]),
    }
    model = load_model(base, compute_dtype="float32")
    loaded = {name: load_adapter(folder, model.config) for name, folder in adapters.items()}
    engine = Engine(model, adapters=loaded)
    asked = {engine.submit(Request(TOKENS[0, :20], SETTINGS, (), name)): name for name in (None, *adapters)}
    answers: dict[str | None, list[int]] = {name: [] for name in asked.values()}
    while not engine.idle:
        for number, token, _ in engine.step():
            answers[asked[number]].append(token)
    for name, answer in answers.items():
        assert answer == greedy(hf_model() if name is None else their_model(adapters[name])), name
    assert len({tuple(answer) for answer in answers.values()}) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda name: re.sub(r"(lora_[AB])\.weight", r"\1.default.weight", name),
        lambda name: re.sub(r"(lora_[AB])\.weight", r"\1.my-adapter.weight", name),
        lambda name: "_orig_mod." + name,
        lambda name: "module." + name,
        lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."),
        lambda name: name.replace("layers.1.", "layers.1._fsdp_wrapped_module._orig_mod."),
        lambda name: name.removeprefix("base_model.model."),
        lambda name: name.replace("model.layers", "model.language_model.layers"),
        lambda name: "base_model.model." + name,
    ],
)
def test_names_with_wrappers_mean_the_same(bases, tmp_path, change):
    adapter = trained(tmp_path / "adapter", target_modules=["v_proj", "up_proj"])
    expected = our_logits(bases[False], adapter)
    rewritten(adapter, lambda name, tensor: (change(name), tensor))
    np.testing.assert_array_equal(our_logits(bases[False], adapter), expected)


def test_a_state_dict_of_the_training_process(bases, tmp_path):
    """Names with the adapter's own everywhere, and the frozen copies beside what was trained."""
    config = {"use_dora": True, "modules_to_save": ["lm_head"], "target_modules": [*Q, "embed_tokens"]}
    adapter = trained(tmp_path / "adapter", **config)
    expected = our_logits(bases[False], adapter)

    def raw(name, tensor):
        name = re.sub(r"(lora_[AB])\.weight", r"\1.default.weight", name)
        name = re.sub(r"(lora_embedding_[AB])$", r"\1.default", name)
        name = name.replace("lora_magnitude_vector", "lora_magnitude_vector.default.weight")
        return name.replace("lm_head.weight", "lm_head.modules_to_save.default.weight"), tensor

    rewritten(adapter, raw)
    np.testing.assert_array_equal(our_logits(bases[False], adapter), expected)


def test_of_two_adapters_in_a_file_none_is_guessed(bases, tmp_path):
    adapter = trained(tmp_path / "adapter", target_modules=Q)
    numbers = iter(range(100))
    rewritten(adapter, lambda name, x: (name.replace(".weight", f".{'ab'[next(numbers) % 2]}.weight"), x))
    with pytest.raises(ValueError, match="holds several adapters: a, b; save one of them alone"):
        load_model(bases[False], adapter=adapter)


def grown(name, tensor):
    if not name.endswith("embed_tokens.weight"):
        return name, tensor
    return name, np.concatenate([tensor, tensor[:2]])


@pytest.mark.parametrize(
    ("config", "spoil", "message"),
    [
        (
            {"modules_to_save": ["embed_tokens"]},
            lambda f: rewritten(f, grown),
            "has 106 rows and .* vocabulary 104: it",
        ),
        ({"modules_to_save": ["norm"]}, lambda f: rewritten(f, lambda n, x: (n, x[:4])), "has shape|rank"),
        ({}, lambda f: rewritten(f, lambda n, x: (n, x * np.float32("nan"))), "lora_A.weight holds NaN, infinite"),
        (
            {},
            lambda f: rewritten(f, lambda n, x: (n, x.astype(np.int8))),
            "is stored as I8; allowed are F32, F16, BF16",
        ),
        ({}, lambda f: rewritten(f, lambda n, x: (n, x[:0])), "has shapes|a part of the weights was saved"),
        ({}, lambda f: rewritten(f, lambda n, x: (n.replace("lora_A", "lora_C"), x)), "unknown tensors: .*lora_C"),
        ({"use_dora": True}, lambda f: edited(f, use_dora=False), "has a lora_magnitude_vector; .* use_dora=False"),
        (
            {"trainable_token_indices": [1, 2]},
            lambda f: edited(f, trainable_token_indices=[1]),
            "for 1 tokens up to id 1",
        ),
        (
            {"trainable_token_indices": [1]},
            lambda f: edited(f, trainable_token_indices=[200]),
            "the base model has 104 tokens",
        ),
        ({"trainable_token_indices": [1]}, lambda f: edited(f, trainable_token_indices=["a"]), "must list token ids"),
        ({"trainable_token_indices": [1]}, lambda f: edited(f, trainable_token_indices=None), "names no tokens for it"),
        ({"modules_to_save": ["lm_head"]}, lambda f: edited(f, modules_to_save="lm_head"), "is not what PEFT writes"),
        (
            {"target_modules": [*Q, "lm_head"], "init_lora_weights": "olora"},
            lambda f: None,
            "'olora' on lm_head is not implemented",
        ),
        ({"target_modules": ["lm_head"]}, lambda f: None, "adapts no linear of the layers, which is not implemented"),
        ({}, lambda f: edited(f, layers_to_transform="1"), "must be the number of a layer, or a list of them"),
        ({}, lambda f: edited(f, target_modules=["q_proj", 3]), "must be a list of module names"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(bases, tmp_path, config, spoil, message):
    adapter = trained(tmp_path / "adapter", 0, **{"target_modules": Q, **config})
    spoil(adapter)
    with pytest.raises(ValueError, match=message) as error:
        load_model(bases[False], adapter=adapter)
    assert "\n" not in str(error.value)
    assert str(adapter) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_modules": "(q_proj"}, "target_modules: '.q_proj' is not a regular expression"),
        ({"exclude_modules": "*"}, "exclude_modules: '.' is not a regular expression"),
        ({"rank_pattern": {"(?i)q_proj": 3}}, "rank_pattern: .*q_proj' is not a regular expression: global flags"),
        ({"alpha_pattern": {"q_proj)": 3}}, "alpha_pattern: 'q_proj.' is not a regular expression"),
        (
            {"layers_pattern": "(?P<idx>a)", "layers_to_transform": [1]},
            "layers_pattern: .* is not a regular expression",
        ),
        ({"modules_to_save": ["lm_head["]}, "modules_to_save: 'lm_head.' is not a regular expression"),
        ({"target_modules": "(" * 2000 + ")" * 2000}, "target_modules: .* is not a regular expression"),
        ({"target_modules": r"(?:(\w)|(\w\w)|(.))+\1\2\3"}, "takes more than 2 s for model"),
        # Python's own takes hours for this one.
        ({"target_modules": r"((\w|\.)+)+#"}, "holds unknown tensors: .*q_proj.lora_A.weight; is it"),
    ],
)
def test_patterns_that_python_refuses_or_never_finishes(bases, tmp_path, changes, message):
    adapter = edited(trained(tmp_path / "adapter", 0, target_modules=Q), **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_model(bases[False], adapter=adapter)
    assert "\n" not in str(error.value) and str(adapter) in str(error.value)


def test_training_weights_of_its_own_further_is_refused_by_name(bases, tmp_path):
    adapter = trained(tmp_path / "adapter", 0, **FEATURES["saved_head"])
    lora = LoraSettings(rank=3, alpha=7.5, target_modules=tuple(Q))
    what = r"weights in place of the base model's \(lm_head\)"
    with pytest.raises(ValueError, match=rf"holds {what}; training that further is not implemented: use it unchanged"):
        load_model(bases[False], adapter=adapter, lora=lora)


def test_weights_of_its_own_are_served_alone_and_not_beside_others(bases, tmp_path):
    base, adapter = bases[True], trained(tmp_path / "adapter", tied=True, **FEATURES["saved_head"])
    for others, alone in (({}, False), ({"other": adapter}, True)):
        with pytest.raises(ValueError, match=r"\(lm_head\.weight\), which models that are served together share: ask"):
            open_engine(base, {"tuned": adapter, **others}, alone=alone, slots=2, compute_dtype="float32")
    engine = open_engine(base, {"tuned": adapter}, alone=True, slots=2, compute_dtype="float32")
    engine.submit(Request(TOKENS[0, :20], SETTINGS, (), "tuned"))
    answer = [token for _ in range(30) if not engine.idle for _, token, _ in engine.step()]
    assert answer == greedy(their_model(adapter, True))
