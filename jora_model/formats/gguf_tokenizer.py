"""Rebuild the tokenizer that a GGUF file describes, as Hugging Face's `tokenizer.json`."""

from collections.abc import Mapping
from typing import Any

from gguf import TokenType
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from user_error import UserError

_PREFIX = "tokenizer.ggml."
_READ = {
    "model",
    "pre",
    "tokens",
    "token_type",
    "merges",
    "bos_token_id",
    "eos_token_id",
    "unknown_token_id",
    "padding_token_id",
}
# Fields with the only value that is implemented.
_ONLY = {"add_space_prefix": False, "add_bos_token": False, "add_eos_token": False}


def tokenizer_of(facts: Mapping[str, Any]) -> Tokenizer:
    """The byte-level BPE tokenizer of a GGUF's `tokenizer.ggml.*` fields.

    Raises:
        UserError: a tokenizer that is not implemented: another model than `gpt2`, another pre-tokenizer than
            `smollm`, an unknown field.
    """
    fields = {key.removeprefix(_PREFIX): value for key, value in facts.items() if key.startswith(_PREFIX)}
    model, pre = fields.get("model"), fields.get("pre")
    if model != "gpt2" or pre != "smollm":
        raise UserError(
            f"GGUF tokenizer {model!r} with pre-tokenizer {pre!r} is not implemented; only 'gpt2' with 'smollm' "
            "is: convert the file with transformers first (from_pretrained(..., gguf_file=...), then "
            "save_pretrained), or use the model's Hugging Face id"
        )
    for key, only in _ONLY.items():
        if fields.get(key, only) != only:
            raise UserError(f"{_PREFIX}{key}={fields[key]!r} is not implemented; only {only!r} is")
    unknown = sorted(set(fields) - _READ - set(_ONLY))
    if unknown:
        raise UserError(f"field {_PREFIX}{unknown[0]} is not implemented")

    missing = [key for key in ("tokens", "token_type", "merges") if key not in fields]
    if missing:
        raise UserError(f"field {_PREFIX}{missing[0]} is missing")
    tokens = fields["tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    # Digits stand alone *before* the byte-level expression sees the text, so that the white space in front of a
    # number is one piece. transformers 5.23 leaves that step out when it reads a GGUF ("\n\n1" gets three tokens).
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, fields["token_type"], strict=True):
        if kind in (TokenType.CONTROL, TokenType.USER_DEFINED):
            added = AddedToken(token, special=kind == TokenType.CONTROL, normalized=False)
            (tokenizer.add_special_tokens if added.special else tokenizer.add_tokens)([added])
    return tokenizer


def tokenizer_config(facts: Mapping[str, Any], max_positions: int) -> dict[str, Any]:
    """`tokenizer_config.json`: the special tokens by name, the longest sequence, the chat template if any."""
    tokens = facts[_PREFIX + "tokens"]
    names = (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad"))
    special = {
        f"{hf_name}_token": tokens[facts[f"{_PREFIX}{name}_token_id"]]
        for name, hf_name in names
        if f"{_PREFIX}{name}_token_id" in facts
    }
    template = facts.get("tokenizer.chat_template")
    return {
        "add_prefix_space": False,
        **special,
        **({} if template is None else {"chat_template": template}),
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_positions,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
