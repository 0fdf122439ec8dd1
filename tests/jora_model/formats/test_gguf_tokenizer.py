"""Tokenizers of GGUF files give the tokens of transformers' own reading, and those of llama.cpp where that departs."""

import json

import gguf
import pytest
import transformers
from tokenizers import AddedToken, Tokenizer, models, trainers
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.integrations.gguf import convert_gguf_tokenizer

from jora_model.formats.gguf_pre_tokenizers import PRE_TOKENIZERS
from jora_model.formats.gguf_tokenizer import check_tokenizer, tokenizer_config, tokenizer_of
from testing.small_tokenizers import llama2_like
from user_error import UserError

TEXTS = (
    "Hello, World!",
    "The mill opened in 1931 and its wheel turns 12,345 times; DON'T ask, they'll say it's so.",
    "  two spaces  and  a trailing one ",
    "tabs\tand\n\n\nnewlines \r\n here / there//\n",
    "naïve café — “quotes” … 日本語 und Straße ГОРОД город",
    "emoji 👩‍👩‍👧 x\u0301",
    "<user>who</user>\n<s>a</s> b",
    "",
    " ",
)
_LINES = [*TEXTS, "The documents say that the warden keeps the keys of the harbour in 1984 and 2001."] * 2
CONTROL, NORMAL, OWN, BYTE, UNKNOWN = (
    int(getattr(gguf.TokenType, name)) for name in ("CONTROL", "NORMAL", "USER_DEFINED", "BYTE", "UNKNOWN")
)
_NAMES = {
    "model": "tokenizer_type",
    "pre": "pre_tokenizer_type",
    "tokens": "tokens",
    "scores": "scores",
    "token_type": "token_type",
    "merges": "merges",
}


def byte_level(pre, architecture="llama", **fields):
    """Fields of a byte-level vocabulary that was trained with this pre-tokenizer."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = PRE_TOKENIZERS[pre].steps()
    alphabet = sorted(bytes_to_unicode().values())
    backend.train_from_iterator(
        _LINES,
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=alphabet, special_tokens=["<s>", "</s>", "<user>"], show_progress=False
        ),
    )
    described = json.loads(backend.to_str())["model"]
    tokens = [token for token, _ in sorted(described["vocab"].items(), key=lambda item: item[1])]
    given = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": [CONTROL, CONTROL, OWN, *[NORMAL] * (len(tokens) - 3)],
        "merges": [" ".join(merge) for merge in described["merges"]],
        "bos_token_id": 0,
        "eos_token_id": 1,
        **fields,
    }
    return {"general.architecture": architecture} | {f"tokenizer.ggml.{key}": value for key, value in given.items()}


def sentencepiece(architecture, **fields):
    """Fields of a vocabulary of Llama 2's kind, with a score of each token."""
    backend = llama2_like()._tokenizer._tokenizer
    tokens = [backend.id_to_token(number) for number in range(backend.get_vocab_size())]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (len(tokens) - 259)]
    given = {
        "model": "llama",
        "pre": "default",
        "tokens": [*tokens, "<user>", "  "],
        "token_type": [*kinds, OWN, OWN],
        "scores": [*(-float(number) for number in range(len(tokens))), 0.0, -1e4],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        **fields,
    }
    return {"general.architecture": architecture} | {f"tokenizer.ggml.{key}": value for key, value in given.items()}


def without(facts, key):
    return {name: value for name, value in facts.items() if name != f"tokenizer.ggml.{key}"}


def theirs(facts) -> Tokenizer:
    given = {ours: facts[f"tokenizer.ggml.{key}"] for key, ours in _NAMES.items() if f"tokenizer.ggml.{key}" in facts}
    return convert_gguf_tokenizer(facts["general.architecture"], given)[0]


def same(facts, texts=TEXTS) -> None:
    ours, expected = tokenizer_of(facts), theirs(facts)
    for text in texts:
        found, wanted = (tokenizer.encode(text, add_special_tokens=False) for tokenizer in (ours, expected))
        assert found.tokens == wanted.tokens, text
        assert found.ids == wanted.ids, text
        assert ours.decode(found.ids, skip_special_tokens=False) == expected.decode(
            wanted.ids, skip_special_tokens=False
        )


@pytest.mark.parametrize("pre", ["gpt-2", "olmo", "dbrx", "smaug-bpe", "gpt-4o", "llama-bpe", "tekken", "qwen2"])
def test_byte_level_is_as_in_transformers(pre):
    composed = [text for text in TEXTS if "\u0301" not in text]
    same(byte_level(pre), composed)


@pytest.mark.parametrize("architecture", ["llama", "gemma", "gemma3", "phi3"])
def test_sentencepiece_is_as_in_transformers(architecture):
    same(sentencepiece(architecture))


def test_digits_stand_alone(tmp_path):
    """Of Granite's, StarCoder's and SmolLM's vocabularies, where transformers cuts the white space before a digit."""
    for pre in ("refact", "starcoder", "smollm"):
        assert tokenizer_of(byte_level(pre)).encode("a  12").tokens[-2:] == ["1", "2"]


def test_a_piece_that_is_a_token_is_not_merged():
    """Llama 3's tokens are those of tiktoken, where a piece that is a token stays whole whatever the merges are."""
    for pre, whole in (("llama-bpe", True), ("tekken", True), ("dbrx", False), ("qwen2", False)):
        facts = byte_level(pre)
        facts["tokenizer.ggml.tokens"] = [*facts["tokenizer.ggml.tokens"], "zqzq"]
        facts["tokenizer.ggml.token_type"] = [*facts["tokenizer.ggml.token_type"], NORMAL]
        assert (tokenizer_of(facts).encode("zqzq", add_special_tokens=False).tokens == ["zqzq"]) == whole, pre


def test_qwen_composes_accents():
    """As Qwen's own tokenizer.json does; a letter and its accent are the letter with the accent."""
    tokenizer = tokenizer_of(byte_level("qwen2"))
    assert tokenizer.encode("cafe\u0301").ids == tokenizer.encode("caf\u00e9").ids


@pytest.mark.parametrize(
    ("facts", "before", "after"),
    [
        (byte_level("gpt-2"), [], []),
        (byte_level("llama-bpe"), [0], []),
        (byte_level("llama-bpe", add_bos_token=False), [], []),
        (byte_level("qwen2", add_bos_token=True, add_eos_token=True), [0], [1]),
        (sentencepiece("llama"), [1], []),
        (sentencepiece("gemma", add_bos_token=False, add_eos_token=True), [], [2]),
    ],
)
def test_tokens_around_a_text(facts, before, after):
    """What the file says, or else what llama.cpp takes for this kind."""
    tokenizer = tokenizer_of(facts)
    plain = tokenizer.encode("the mill", add_special_tokens=False).ids
    assert tokenizer.encode("the mill").ids == [*before, *plain, *after]


def test_a_text_without_a_space_before_it():
    facts = sentencepiece("llama", add_space_prefix=False)
    tokenizer = tokenizer_of(facts)
    assert tokenizer.encode("the mill", add_special_tokens=False).tokens[0][0] != "▁"
    assert tokenizer.decode(tokenizer.encode(" the mill").ids) == " the mill"


@pytest.mark.parametrize("facts", [byte_level("llama-bpe"), sentencepiece("llama"), sentencepiece("gemma")])
def test_a_saved_tokenizer_loads_as_it_is(tmp_path, facts):
    tokenizer = tokenizer_of(facts)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(facts, 100)))
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert loaded.encode(text) == tokenizer.encode(text).ids, text
    assert loaded.eos_token == "</s>"
    assert loaded.decode(loaded.encode("the mill"), skip_special_tokens=True) == "the mill"


def test_a_whole_tokenizer_in_the_file_is_taken():
    own = tokenizer_of(byte_level("gpt-2"))
    own.add_tokens([AddedToken("zebra zebra", normalized=False)])
    facts = byte_level("gpt-2") | {"tokenizer.huggingface.json": own.to_str(), "tokenizer.ggml.pre": "default"}
    assert tokenizer_of(facts).to_str() == own.to_str()


def test_named_templates():
    facts = byte_level("gpt-2") | {
        "tokenizer.chat_template": "A",
        "tokenizer.chat_templates": ["tool_use"],
        "tokenizer.chat_template.tool_use": "B",
    }
    assert tokenizer_config(facts, 100)["chat_template"] == [
        {"name": "default", "template": "A"},
        {"name": "tool_use", "template": "B"},
    ]


def test_merges_of_no_tokens_are_refused():
    with pytest.raises(UserError, match="the merges do not fit the tokens"):
        tokenizer_of(byte_level("gpt-2", merges=["zq zq"]))


def test_a_padding_token_beyond_the_vocabulary_is_none():
    """Llama 2's finetunes have one that they never gave a row; llama.cpp passes over it."""
    facts = byte_level("gpt-2", padding_token_id=32000)
    assert "pad_token" not in tokenizer_config(facts, 100)
    assert tokenizer_config(byte_level("gpt-2", padding_token_id=1), 100)["pad_token"] == "</s>"
    assert tokenizer_of(facts).get_vocab_size() == len(facts["tokenizer.ggml.tokens"])


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (byte_level("gpt-2", token_type=[NORMAL]), "token_type has 1 values for 400 tokens; download the file again"),
        (sentencepiece("llama", scores=[0.0]), "scores has 1 values for"),
        (without(sentencepiece("llama"), "scores"), r"field tokenizer\.ggml\.scores is missing"),
        (without(byte_level("gpt-2"), "merges"), r"field tokenizer\.ggml\.merges is missing"),
        (sentencepiece("llama", eot_token_id=10**6), "eot_token_id=1000000 is beyond the"),
        (byte_level("gpt-2", remove_extra_whitespaces=True), "remove_extra_whitespaces=True is not implemented"),
    ],
)
def test_fields_that_do_not_fit(facts, message):
    with pytest.raises(UserError, match=message) as error:
        check_tokenizer(facts)
    assert "\n" not in str(error.value)
