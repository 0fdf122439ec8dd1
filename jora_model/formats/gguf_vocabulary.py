"""A Hugging Face tokenizer as the `tokenizer.*` fields of a GGUF file; the other way is gguf_tokenizer.py."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import TokenType
from tokenizers import Tokenizer

from user_error import UserError

_PREFIX = "tokenizer.ggml."
_CAUTION = "set export.gguf=none, or convert the merged folder with llama.cpp's convert_hf_to_gguf.py"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def vocabulary_of(folder: Path, vocab_size: int) -> dict[str, Any]:
    """The fields of the tokenizer in a model folder, its chat template among them.

    Args:
        vocab_size: of the model, 0 where it is all the same; rows of the embedding without a token get a name
            that no text has.

    Raises:
        UserError: it is missing, or of a kind that is not implemented.
    """
    try:
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        tokenizer, described = Tokenizer.from_str(text), json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{folder} holds no tokenizer.json") from None
    named = _named(folder)
    model = described["model"]
    if model.get("type") != "BPE":
        raise UserError(f"a GGUF with a tokenizer of the kind {model.get('type')} is not implemented; {_CAUTION}")
    added = {item["id"]: item for item in described.get("added_tokens") or []}
    tokens = [tokenizer.id_to_token(number) for number in range(max(vocab_size, tokenizer.get_vocab_size()))]
    if 0 < vocab_size < len(tokens):
        raise UserError(f"the tokenizer has {len(tokens)} tokens and the model {vocab_size}; use the model's own")
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
    if (template := _template(folder, named)) is not None:
        fields["tokenizer.chat_template"] = template
    return fields


def _named(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, with the special tokens as text."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {
        key: value["content"] if isinstance(value, dict) and "content" in value else value
        for key, value in config.items()
    }


def _template(folder: Path, named: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = named.get("chat_template")
    return template if isinstance(template, str) else None


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
    """llama.cpp joins the pair whose piece has the highest score: the place of the first merge that makes the piece."""
    place: dict[str, int] = {}
    for number, merge in enumerate(merges):
        place.setdefault("".join(merge), number)
    return [-float(place[token]) if token in place else -1e9 if len(token) > 1 else 0.0 for token in tokens]


def _pre_tokenizer(pre: Mapping[str, Any] | None) -> str:
    """llama.cpp's name of the way in which text is cut before the merges."""
    steps = (pre or {}).get("pretokenizers", [pre]) if pre else []
    kinds = [step["type"] for step in steps]
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and _plain(steps[1]):
        return "smollm"
    if kinds == ["ByteLevel"] and _plain(steps[0]):
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"] and steps[0]["pattern"].get("Regex") == _GPT4:
        return "llama-bpe"
    raise UserError(f"a GGUF with a tokenizer that cuts text by {' and '.join(kinds)} is not implemented; {_CAUTION}")


def _plain(step: Mapping[str, Any]) -> bool:
    return not step.get("add_prefix_space") and bool(step.get("use_regex", True))


def _adds_space(described: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text, by the normalizer (Llama 2's files) or by Metaspace (newer ones)."""
    normalizers = described.get("normalizer") or {}
    steps = normalizers.get("normalizers", [normalizers])
    if any(step.get("type") == "Prepend" for step in steps):
        return True
    pre = described.get("pre_tokenizer") or {}
    return pre.get("type") == "Metaspace" and pre.get("prepend_scheme", "always") != "never"


def _around(tokenizer: Tokenizer) -> tuple[bool, bool]:
    """Whether a token is put before and after a text."""
    plain, whole = (tokenizer.encode("x", add_special_tokens=special).ids for special in (False, True))
    if len(whole) == len(plain):
        return False, False
    before = whole[-len(plain) :] == plain or whole[1 : 1 + len(plain)] == plain
    return before, whole[-len(plain) :] != plain
