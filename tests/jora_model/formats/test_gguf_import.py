"""A GGUF becomes a folder that is what transformers makes of the same file; what is not implemented is refused."""

import json
import unicodedata

import gguf
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_files import link_names, linked_gguf
from jora_model.formats.gguf_import import gguf_config, import_gguf
from jora_model.spec.config import ModelConfig
from testing.tiny_gguf import tiny_gguf
from user_error import UserError

AWKWARD = [
    "Hello, World!",
    "  two leading spaces and a trailing one ",
    "tabs\tand\n\n\nnewlines \r\n here",
    "in 1984, 3.14159 and 1,000,000; x2y3",
    "don't you'll WE'VE they'd",
    "naïve café — “quotes” … 日本語 und Straße",
    "emoji 👩‍👩‍👧 and 🏳️‍🌈",
    "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n",
    "a<|endoftext|>b <repo_name>c",
    "",
    " ",
    "\n",
    "snake_case CamelCase !!!??? ((()))",
]


@pytest.fixture(scope="module")
def theirs():
    path = resolve_base("embedded")
    return transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def tokenizers(smollm2):
    path = resolve_base("embedded")
    return (
        transformers.AutoTokenizer.from_pretrained(smollm2),
        transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name),
    )


@pytest.mark.slow
def test_weights_equal_transformers(smollm2, theirs):
    ours = load_file(smollm2 / "model.safetensors")
    expected = {name: weight for name, weight in theirs.state_dict().items() if name != "lm_head.weight"}
    assert set(ours) == set(expected)
    for name, weight in expected.items():
        assert np.array_equal(ours[name].view(np.int16), weight.view(torch.int16).numpy()), name


@pytest.mark.slow
def test_logits_equal_transformers(smollm2, theirs):
    """Also the facts of config.json: theta, epsilon, heads, tied embeddings."""
    tokens = torch.arange(100, 150)[None]
    ours = transformers.AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    # Not theirs.float(): transformers refuses that for a model that once was quantised.
    expected = torch.nn.Module.float(theirs)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens).logits, expected(tokens).logits, rtol=1e-5, atol=1e-5)
    assert ModelConfig.read(smollm2).eos_token_ids == (2,)
    assert ModelConfig.from_hf(gguf_config(resolve_base("embedded"))) == ModelConfig.read(smollm2)


def test_tokenizer_equals_transformers(tokenizers):
    ours, expected = tokenizers
    for text in AWKWARD:
        assert ours.encode(text) == expected.encode(text), text
        assert ours.decode(ours.encode(text)) == text
    assert ours.special_tokens_map == expected.special_tokens_map
    messages = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]
    for generation in (True, False):
        texts = [t.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation) for t in tokenizers]
        assert texts[0] == texts[1]


def test_digits_stand_alone_before_everything_else(tokenizers):
    """As `pre = smollm` asks (llama.cpp splits at every digit first); transformers' reading of a GGUF does not, and
    so cuts the white space before a number in two. Digit by digit, it is the reference again."""
    ours, expected = tokenizers
    for text in ("a  1", "\n\n1. First\n\n2. Second", "on   12 May", "x = 0  7", "Ⅷ ½  ٣ १२"):
        pieces, piece = [], ""
        for character in text:
            if unicodedata.category(character).startswith("N"):
                pieces, piece = [*pieces, piece, character], ""
            else:
                piece += character
        assert ours.encode(text) == [token for p in [*pieces, piece] for token in expected.encode(p)], text


def test_same_file_same_bytes_and_an_own_head(tmp_path):
    path = tiny_gguf(tmp_path / "a.gguf", tied=False)
    for name in ("one", "two"):
        import_gguf(path, tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert (config["rms_norm_eps"], config["rope_theta"], config["head_dim"]) == (1e-5, 10_000.0, 8)
    assert not config["tie_word_embeddings"]
    assert load_file(tmp_path / "one" / "model.safetensors")["lm_head.weight"].shape == (64, 32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "one")
    # A user's token is one token and survives where special tokens are skipped.
    assert tokenizer.encode("<user>") == [63]
    assert tokenizer.decode([61, 63], skip_special_tokens=True) == "<user>"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "qwen2moe"}, "architecture 'qwen2moe' is not implemented; allowed are gemma, gemma2, "),
        ({"fields": {"llama.rope.scaling.type": "su"}}, r"llama\.rope\.scaling\.type='su' is not implemented"),
        ({"fields": {"llama.rope.scaling.type": "yarn"}}, r"field llama\.rope\.scaling\.factor is missing"),
        ({"fields": {"llama.expert_count": 8}}, "llama.expert_count=8 is not implemented"),
        ({"fields": {"llama.attention.clamp_kqv": 8.0}}, "field llama.attention.clamp_kqv=8.0 is not implemented"),
        ({"fields": {"llama.attention.scale": 0.5}}, "field llama.attention.scale=0.5 is not implemented"),
        ({"fields": {"llama.rope.dimension_count": 4}}, "llama.rope.dimension_count=4 differs"),
        (
            {"fields": {"tokenizer.ggml.model": "t5"}},
            "tokenizer 't5' .* allowed are 'gpt2' and 'llama': convert the file with transformers first",
        ),
        ({"fields": {"tokenizer.ggml.pre": "default"}}, "pre-tokenizer 'default' .* allowed are codeshell, .* tekken"),
        ({"fields": {"tokenizer.ggml.add_bos_token": True}}, r"add_bos_token=True needs .*bos_token_id"),
        ({"fields": {"tokenizer.ggml.bos_token_id": 64}}, r"bos_token_id=64 is beyond the 64 tokens"),
        ({"fields": {"tokenizer.huggingface.json": "{}"}}, r"tokenizer\.huggingface\.json is damaged"),
        ({"tensors": {"rope_freqs.weight": (4,)}}, r"rope_freqs\.weight\) has divisors of no known parameters"),
        ({"tensors": {"rope_freqs.weight": (5,)}}, r"rope_freqs\.weight has shape \(5,\); 4 frequencies are rotated"),
        ({"tensors": {"rope_factors_short.weight": (4,)}}, r"rope_factors_long\.weight is missing"),
        ({"tensors": {"blk.0.attn_q.bias": (32,)}}, r"tensor blk\.0\.attn_k\.bias is missing"),
        ({"tensors": {"blk.0.attn_norm.bias": (32,)}}, r"tensor blk\.0\.attn_norm\.bias is not implemented"),
        ({"tensors": {"blk.0.ffn_up.weight": (96, 32)}}, r"ffn_up\.weight has shape \(96, 32\); .* say \(64, 32\)"),
        ({"without": {"blk.0.ffn_up.weight"}}, r"tensor blk\.0\.ffn_up\.weight is missing \(1 of 11 are\)"),
    ],
)
def test_refuses_what_it_does_not_implement(tmp_path, changes, message):
    path = tiny_gguf(tmp_path / "a.gguf", **changes)
    reads = [lambda: import_gguf(path, tmp_path / "out")]
    if "is damaged" not in message:  # `--dry-run` does not build the tokenizer
        reads.append(lambda: gguf_config(path))
    for read in reads:
        with pytest.raises(UserError, match=message) as error:
            read()
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"not a gguf file, but long enough to be read as one", b"", None, 700, 6_000])
def test_refuses_broken_files(tmp_path, content):
    """Another kind of file, an empty one, no file, a file cut off in its fields or its tensors."""
    path = tmp_path / "broken.gguf"
    if isinstance(content, int):
        path.write_bytes(tiny_gguf(tmp_path / "whole.gguf").read_bytes()[:content])
    elif content is not None:
        path.write_bytes(content)
    for read in (lambda: import_gguf(path, tmp_path / "out"), lambda: gguf_config(path)):
        with pytest.raises(UserError, match=r"broken\.gguf (cannot be read as GGUF|does not exist)") as error:
            read()
        assert "\n" not in str(error.value)


def test_refuses_a_big_endian_file(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "big.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.add_block_count(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"big\.gguf is a big-endian GGUF file"):
        import_gguf(tmp_path / "big.gguf", tmp_path / "out")


_DEQUANTISED = [kind for kind in gguf.GGMLQuantizationType if kind in gguf.quants._type_traits]


@pytest.mark.parametrize("kind", _DEQUANTISED, ids=lambda kind: kind.name)
def test_every_type_that_the_package_dequantises(tmp_path, kind):
    path = tiny_gguf(tmp_path / "a.gguf", kind=kind)
    import_gguf(path, tmp_path / "out")
    (stored,) = (t for t in gguf.GGUFReader(path).tensors if t.name == "blk.0.ffn_down.weight")
    assert stored.tensor_type == kind
    expected = gguf.quants.dequantize(stored.data, kind)
    found = load_file(tmp_path / "out" / "model.safetensors")["model.layers.0.mlp.down_proj.weight"]
    assert found.shape == (32, 256)
    assert np.array_equal(found.view(np.uint16), expected.astype(found.dtype).view(np.uint16))


def test_types_that_cannot_be_read_are_refused_before_anything_is_written(tmp_path):
    path = tiny_gguf(tmp_path / "a.gguf", integers="blk.0.ffn_up.weight")
    for read in (lambda: import_gguf(path, tmp_path / "out"), lambda: gguf_config(path)):
        with pytest.raises(UserError, match=r"ffn_up\.weight is of type I32, which .* use a file of another quant"):
            read()
    assert not (tmp_path / "out").exists()


def test_numbers_that_are_none_are_refused(tmp_path):
    path = tiny_gguf(tmp_path / "a.gguf", broken="output_norm.weight")
    with pytest.raises(UserError, match=r"a\.gguf: tensor output_norm\.weight holds NaN or infinite numbers"):
        import_gguf(path, tmp_path / "out")


@pytest.mark.parametrize("named", [1, 3])
def test_a_split_file_is_read_by_any_of_its_parts(tmp_path, named):
    whole = tiny_gguf(tmp_path / "a.gguf", tied=False)
    tiny_gguf(tmp_path / "b.gguf", tied=False, parts=3)
    import_gguf(whole, tmp_path / "one")
    import_gguf(tmp_path / f"b-{named:05d}-of-00003.gguf", tmp_path / "two")
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_split_file_lacks_a_part(tmp_path):
    tiny_gguf(tmp_path / "b.gguf", parts=3)
    second = tmp_path / "b-00002-of-00003.gguf"
    moved = second.rename(tmp_path / "moved.gguf")
    with pytest.raises(UserError, match=r"is split into 3 files, and b-00002-of-00003\.gguf is missing beside it"):
        gguf_config(tmp_path / "b-00001-of-00003.gguf")
    with pytest.raises(UserError, match=r"moved\.gguf is part 2 of 3; name the parts as NAME-00001-of-00003\.gguf"):
        gguf_config(moved)
    second.write_bytes((tmp_path / "b-00003-of-00003.gguf").read_bytes())
    with pytest.raises(UserError, match=r"b-00002-of-00003\.gguf holds another part than its name says"):
        gguf_config(tmp_path / "b-00001-of-00003.gguf")


def test_a_snapshot_links_every_part(tmp_path):
    """Also where the parts are links to files of other names, as in Hugging Face's cache."""
    whole, links, cached = tmp_path / "a.gguf", tmp_path / "links", tmp_path / "cached"
    tiny_gguf(whole, tied=False)
    tiny_gguf(tmp_path / "b.gguf", tied=False, parts=2)
    named = tmp_path / "b-00002-of-00002.gguf"
    for folder in (links, cached, tmp_path / "one"):
        folder.mkdir()
    for number in (1, 2):
        part = (tmp_path / f"b-{number:05d}-of-00002.gguf").rename(tmp_path / f"hash{number}")
        (tmp_path / f"b-{number:05d}-of-00002.gguf").symlink_to(part)
    for name, file in link_names(named).items():
        (cached / name).symlink_to(file.resolve())
    assert sorted(path.name for path in cached.iterdir()) == [f"model-0000{n}-of-00002.gguf" for n in (1, 2)]
    assert linked_gguf(cached) == cached / "model-00001-of-00002.gguf"
    assert gguf_config(linked_gguf(cached)) == gguf_config(whole)
    for number in (1, 2):
        (tmp_path / f"hash{number}").rename(tmp_path / f"b-{number:05d}-of-00002.gguf")
    for name, file in link_names(named).items():
        (links / name).symlink_to(file.resolve())
    assert linked_gguf(links) == tmp_path / "b-00001-of-00002.gguf", "errors name the person's file"
    (tmp_path / "one" / "model.gguf").symlink_to(whole)
    assert link_names(whole) == {"model.gguf": whole}
    assert linked_gguf(tmp_path / "one") == whole
