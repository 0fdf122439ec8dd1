"""Build a Hugging Face tokenizer from the fields of a GGUF file; gguf_vocabulary.py is the inverse.

A file says which tokens there are, and names the rest: a pre-tokenizer of byte-level vocabularies
(gguf_pre_tokenizers.py), or "llama", SentencePiece's kind (gguf_sentencepiece.py). The result is that of transformers'
own reading of a GGUF (integrations/gguf/gguf_tokenizer_mapping.py), without its imports, and llama.cpp's where that
reading departs from it. A file that holds a whole tokenizer.json is taken at its word.
"""

import reprlib
from collections.abc import Mapping, Set
from typing import Any

from gguf import TokenType
from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from jora_model.formats.gguf_pre_tokenizers import PRE_TOKENIZERS
from jora_model.formats.gguf_sentencepiece import sentencepiece_of
from user_error import UserError

_PREFIX = "tokenizer.ggml."
_WHOLE = "tokenizer.huggingface.json"
_READ = {
    "model",
    "pre",
    "tokens",
    "token_type",
    "scores",
    "merges",
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "padding_token_id",
    "add_space_prefix",
    "add_bos_token",
    "add_eos_token",
}
# What no text is tokenized by: names of tokens for other uses, and for pairs of texts.
_HARMLESS = {f"{name}_token_id" for name in ("seperator", "cls", "mask", "prefix", "suffix", "middle", "fsep")} | {
    "token_type_count",
    "add_sep_token",
}
_ONLY = {"remove_extra_whitespaces": False}
_OTHERWISE = (
    "convert the file with transformers first (from_pretrained(..., gguf_file=...), then save_pretrained), or use the "
    "model's Hugging Face id"
)


def check_fields(prefix: str, fields: Mapping[str, Any], read: Set[str], only: Mapping[str, Any]) -> None:
    """Check that all fields are known, and that those of `only` have their one implemented value.

    Raises:
        UserError: names the first field that is not implemented, with its prefix.
    """
    for key, value in only.items():
        if fields.get(key, value) != value:
            raise UserError(f"{prefix}{key}={fields[key]!r} is not implemented; only {value!r} is")
    for key in sorted(set(fields) - read - set(only)):
        raise UserError(f"field {prefix}{key}={reprlib.repr(fields[key])} is not implemented")


def check_tokenizer(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `tokenizer.ggml.*` fields without that prefix, without building the tokenizer.

    Raises:
        UserError: a kind of tokenizer, a pre-tokenizer or a field that is missing or not implemented.
    """
    fields = {key.removeprefix(_PREFIX): value for key, value in facts.items() if key.startswith(_PREFIX)}
    model, pre = fields.get("model"), fields.get("pre")
    if _WHOLE in facts and "tokens" in fields:
        return fields
    if model == "gpt2" and pre not in PRE_TOKENIZERS:
        raise UserError(
            f"the pre-tokenizer {pre!r} of the GGUF tokenizer 'gpt2' is not implemented; allowed are "
            f"{', '.join(sorted(PRE_TOKENIZERS))}: {_OTHERWISE}"
        )
    if model not in ("gpt2", "llama"):
        raise UserError(f"GGUF tokenizer {model!r} is not implemented; allowed are 'gpt2' and 'llama': {_OTHERWISE}")
    known = _READ | _HARMLESS | {key for key in fields if key.startswith("fim_")}
    check_fields(_PREFIX, fields, known, _ONLY)
    needed = ["tokens", "merges"] if model == "gpt2" else ["tokens", *(() if "merges" in fields else ("scores",))]
    missing = [key for key in needed if key not in fields]
    if missing:
        raise UserError(f"field {_PREFIX}{missing[0]} is missing")
    count = len(fields["tokens"])
    for key in ("token_type", "scores"):
        if key in fields and len(fields[key]) != count:
            raise UserError(f"{_PREFIX}{key} has {len(fields[key])} values for {count} tokens; download the file again")
    for name in ("bos", "eos", "eot", "eom", "unknown"):
        number = fields.get(f"{name}_token_id", 0)
        if not 0 <= number < count:
            raise UserError(f"{_PREFIX}{name}_token_id={number} is beyond the {count} tokens; download the file again")
    for name in ("bos", "eos"):
        if fields.get(f"add_{name}_token") and f"{name}_token_id" not in fields:
            raise UserError(f"{_PREFIX}add_{name}_token=True needs {_PREFIX}{name}_token_id, which is missing")
    return fields


def padding_id(facts: Mapping[str, Any]) -> int | None:
    """Return the id of the padding token; None also if it is beyond the tokens, which llama.cpp passes over."""
    number = facts.get(f"{_PREFIX}padding_token_id")
    return number if number is not None and 0 <= number < len(facts.get(f"{_PREFIX}tokens", ())) else None


def tokenizer_of(facts: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer of a GGUF's `tokenizer.*` fields.

    Raises:
        UserError: as `check_tokenizer`, or the tokens do not fit each other.
    """
    fields = check_tokenizer(facts)
    if _WHOLE in facts:
        try:
            return Tokenizer.from_str(facts[_WHOLE])
        except Exception as error:  # the library raises no narrower class
            raise UserError(f"{_WHOLE} is damaged ({error}); download the file again") from None
    tokens = list(fields["tokens"])
    kinds = fields.setdefault("token_type", [int(TokenType.NORMAL)] * len(tokens))
    try:
        if fields["model"] == "gpt2":
            tokenizer = _byte_level(tokens, fields)
        else:
            tokenizer, tokens = sentencepiece_of(tokens, fields, str(facts.get("general.architecture")))
    except Exception as error:  # the library raises no narrower class
        raise UserError(f"the merges do not fit the tokens ({error}); download the file again") from None
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in (TokenType.CONTROL, TokenType.USER_DEFINED):
            added = AddedToken(token, special=kind == TokenType.CONTROL, normalized=False)
            (tokenizer.add_special_tokens if added.special else tokenizer.add_tokens)([added])
    _add_around(tokenizer, fields, tokens)
    return tokenizer


def tokenizer_config(facts: Mapping[str, Any], max_positions: int) -> dict[str, Any]:
    """Return `tokenizer_config.json`: special tokens by name, maximum length, and the chat template if any."""
    tokens = facts[_PREFIX + "tokens"]
    names = (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"))
    ids = {hf_name: facts.get(f"{_PREFIX}{name}_token_id") for name, hf_name in names} | {"pad": padding_id(facts)}
    special = {f"{name}_token": tokens[number] for name, number in ids.items() if number is not None}
    template = facts.get("tokenizer.chat_template")
    named = sorted(facts.get("tokenizer.chat_templates", ()))
    if named:
        found = {"default": template} | {name: facts.get(f"tokenizer.chat_template.{name}") for name in named}
        template = [{"name": name, "template": text} for name, text in found.items() if text is not None] or None
    return {
        # Of SentencePiece's kind, tokenizer.json says it.
        **({} if facts.get(_PREFIX + "model") == "llama" else {"add_prefix_space": False}),
        **special,
        **({} if template is None else {"chat_template": template}),
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_positions,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _byte_level(tokens: list[str], fields: Mapping[str, Any]) -> Tokenizer:
    pre = PRE_TOKENIZERS[fields["pre"]]
    merges = [tuple(merge.split(" ")) for merge in fields["merges"]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if pre.whole:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    else:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    if (normalizer := pre.normalizer()) is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre.steps()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _add_around(tokenizer: Tokenizer, fields: Mapping[str, Any], tokens: list[str]) -> None:
    """Put the tokens of the beginning and of the end around a text, where the file or llama.cpp's default says so."""
    default = fields["model"] == "llama" or PRE_TOKENIZERS[fields["pre"]].bos
    around = []
    for name, wanted in (("bos", fields.get("add_bos_token", default)), ("eos", fields.get("add_eos_token", False))):
        number = fields.get(f"{name}_token_id")
        around.append((tokens[number], number) if wanted and number is not None else None)
    before, after = around
    if before or after:
        single = f"{before[0] + ' ' if before else ''}$A{' ' + after[0] if after else ''}"
        pair = f"{single} {before[0] + ' ' if before else ''}$B{' ' + after[0] if after else ''}"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[item for item in dict.fromkeys(around) if item]
        )
