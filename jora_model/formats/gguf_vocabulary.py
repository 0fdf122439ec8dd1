"""The `tokenizer.*` fields of a GGUF file for a Hugging Face tokenizer; gguf_tokenizer.py is the inverse."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import TokenType
from tokenizers import Tokenizer

from jora_model.formats.chat_templates import DEFAULT, read_templates
from jora_model.spec.hf_files import TOKENIZER, TOKENIZER_CONFIG, read_object
from user_error import UserError

_PREFIX = "tokenizer.ggml."
_CAUTION = "set export.gguf=none, or convert the merged folder with llama.cpp's convert_hf_to_gguf.py"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def vocabulary_of(folder: Path, vocab_size: int, end_id: int | None = None) -> dict[str, Any]:
    """Return the fields of the tokenizer in a model folder, including its chat templates.

    Args:
        vocab_size: of the model, or 0 to skip the check; rows of the embedding without a token get placeholder names.
        end_id: the token that ends an answer, at which llama.cpp stops, as it does at the end of a text.

    Raises:
        UserError: the tokenizer is missing, damaged, or of a kind that is not implemented.
    """
    path = folder / TOKENIZER
    try:
        described = read_object(path)
    except FileNotFoundError:
        raise UserError(f"{folder} holds no {TOKENIZER}") from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower class
        raise UserError(f"{path} is damaged ({error}); download the file again") from None
    named = _named(folder)
    model = described["model"]
    if model.get("type") != "BPE":
        raise UserError(f"GGUF export of a {model.get('type')} tokenizer is not implemented; {_CAUTION}")
    added = {item["id"]: item for item in described.get("added_tokens") or []}
    tokens = [tokenizer.id_to_token(number) for number in range(max(vocab_size, tokenizer.get_vocab_size()))]
    if 0 < vocab_size < len(tokens):
        raise UserError(
            f"the tokenizer has {len(tokens)} tokens, the model {vocab_size}; use the model's own tokenizer"
        )
    names = [f"[PAD{number}]" if token is None else token for number, token in enumerate(tokens)]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    kinds = [_kind(number, token, added, model) for number, token in enumerate(tokens)]
    fields: dict[str, Any]
    if model.get("byte_fallback"):
        fields = {
            f"{_PREFIX}model": "llama",
            f"{_PREFIX}pre": "default",
            f"{_PREFIX}tokens": names,
            f"{_PREFIX}scores": _scores(names, merges),
            f"{_PREFIX}token_type": kinds,
            f"{_PREFIX}add_space_prefix": _adds_space(described),
        }
    else:
        fields = {
            f"{_PREFIX}model": "gpt2",
            f"{_PREFIX}pre": _pre_tokenizer(described.get("pre_tokenizer")),
            f"{_PREFIX}tokens": names,
            f"{_PREFIX}token_type": kinds,
            f"{_PREFIX}merges": [" ".join(merge) for merge in merges],
        }
    for theirs, ours in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token = named.get(f"{theirs}_token")
        number = None if token is None else tokenizer.token_to_id(token)
        if number is not None:
            fields[f"{_PREFIX}{ours}_token_id"] = number
    before, after = _around(tokenizer)
    fields[f"{_PREFIX}add_bos_token"] = before
    fields[f"{_PREFIX}add_eos_token"] = after
    if end_id is not None and end_id != fields.get(f"{_PREFIX}eos_token_id"):
        fields[f"{_PREFIX}eot_token_id"] = end_id
    return fields | _template_fields(read_templates(folder, named))


def _named(folder: Path) -> dict[str, Any]:
    """Return tokenizer_config.json with the special tokens as text."""
    path = folder / TOKENIZER_CONFIG
    config = read_object(path) if path.is_file() else {}
    return {
        key: value["content"] if isinstance(value, dict) and "content" in value else value
        for key, value in config.items()
    }


def _template_fields(templates: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of named templates; names as convert_hf_to_gguf.py writes them."""
    named = {re.sub(r"[^A-Za-z0-9]", "_", name): text for name, text in templates.items()}
    default = {"tokenizer.chat_template": named.pop(DEFAULT)} if DEFAULT in named else {}
    others = {f"tokenizer.chat_template.{name}": text for name, text in named.items()}
    return default | others | ({"tokenizer.chat_templates": sorted(named)} if named else {})


def _kind(number: int, token: str | None, added: Mapping[int, Any], model: Mapping[str, Any]) -> int:
    if token is None:
        return int(TokenType.UNUSED)
    if token == model.get("unk_token") and model.get("byte_fallback"):
        return int(TokenType.UNKNOWN)
    if number in added:
        return int(TokenType.CONTROL if added[number].get("special") else TokenType.USER_DEFINED)
    is_byte = model.get("byte_fallback") and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
    return int(TokenType.BYTE if is_byte else TokenType.NORMAL)


def _scores(tokens: list[str], merges: list[tuple[str, ...]]) -> list[float]:
    """Return minus the rank of each token's first merge: llama.cpp merges the pair with the highest score."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge), rank)
    return [-float(ranks[token]) if token in ranks else -1e9 if len(token) > 1 else 0.0 for token in tokens]


def _pre_tokenizer(pre: Mapping[str, Any] | None) -> str:
    """Return llama.cpp's name of the pre-tokenizer."""
    steps = (pre or {}).get("pretokenizers", [pre]) if pre else []
    kinds = [step["type"] for step in steps]
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and _plain(steps[1]):
        return "smollm"
    if kinds == ["ByteLevel"] and _plain(steps[0]):
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"] and steps[0]["pattern"].get("Regex") == _GPT4:
        return "llama-bpe"
    raise UserError(f"GGUF export of the pre-tokenizer {' and '.join(kinds)} is not implemented; {_CAUTION}")


def _plain(step: Mapping[str, Any]) -> bool:
    return not step.get("add_prefix_space") and bool(step.get("use_regex", True))


def _adds_space(described: Mapping[str, Any]) -> bool:
    """Whether a text is prefixed with a space, by the normalizer (Llama 2's files) or by Metaspace (newer ones)."""
    normalizers = described.get("normalizer") or {}
    steps = normalizers.get("normalizers", [normalizers])
    if any(step.get("type") == "Prepend" for step in steps):
        return True
    pre = described.get("pre_tokenizer") or {}
    return pre.get("type") == "Metaspace" and pre.get("prepend_scheme", "always") != "never"


def _around(tokenizer: Tokenizer) -> tuple[bool, bool]:
    """Whether a token is added before a text, and after it."""
    plain, full = (tokenizer.encode("x", add_special_tokens=special).ids for special in (False, True))
    if len(full) == len(plain):
        return False, False
    before = full[-len(plain) :] == plain or full[1 : 1 + len(plain)] == plain
    return before, full[-len(plain) :] != plain
