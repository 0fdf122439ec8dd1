"""Build a Hugging Face tokenizer from the fields of a GGUF file; gguf_vocabulary.py is the inverse."""

import reprlib
from collections.abc import Mapping, Set
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
# Fields with the only implemented value.
_ONLY = {"add_space_prefix": False, "add_bos_token": False, "add_eos_token": False}


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


def tokenizer_of(facts: Mapping[str, Any]) -> Tokenizer:
    """Return the byte-level BPE tokenizer of a GGUF's `tokenizer.ggml.*` fields.

    Raises:
        UserError: a model other than `gpt2`, a pre-tokenizer other than `smollm`, or an unknown field.
    """
    fields = {key.removeprefix(_PREFIX): value for key, value in facts.items() if key.startswith(_PREFIX)}
    model, pre = fields.get("model"), fields.get("pre")
    if model != "gpt2" or pre != "smollm":
        raise UserError(
            f"GGUF tokenizer {model!r} with pre-tokenizer {pre!r} is not implemented; only 'gpt2' with 'smollm' "
            "is: convert the file with transformers first (from_pretrained(..., gguf_file=...), then "
            "save_pretrained), or use the model's Hugging Face id"
        )
    check_fields(_PREFIX, fields, _READ, _ONLY)
    missing = [key for key in ("tokens", "token_type", "merges") if key not in fields]
    if missing:
        raise UserError(f"field {_PREFIX}{missing[0]} is missing")
    tokens = fields["tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["merges"]]
    if len(fields["token_type"]) != len(tokens):
        raise UserError(f"{len(tokens)} tokens have {len(fields['token_type'])} types; download the file again")
    try:
        tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    except Exception as error:  # the library raises no narrower class
        raise UserError(f"the merges do not fit the tokens ({error}); download the file again") from None
    # Digits are split off before the byte-level expression runs, so that the white space before a number is one
    # piece. transformers 5.23 omits that step when it reads a GGUF ("\n\n1" becomes three tokens).
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
    """Return `tokenizer_config.json`: special tokens by name, maximum length, and the chat template if any."""
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
