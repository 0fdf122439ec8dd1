"""The tokenizer's files in a model folder: loaded with transformers, checked before, and refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from user_error import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOKENIZER, _CONFIG, _GENERATION = "tokenizer.json", "tokenizer_config.json", "generation_config.json"
_TEMPLATE = "chat_template.jinja"


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, as transformers reads it.

    Raises:
        UserError: names the file, the field and what to do: there is no tokenizer, a file is damaged, a field of
            tokenizer_config.json has a wrong type, the tokenizer needs code of its own, or tokenizer.json is newer than
            the library.
    """
    if not folder.is_dir():
        raise UserError(f"no model folder at {folder}: give a folder with {_TOKENIZER} and {_CONFIG}")
    path = _given(folder / _CONFIG)
    _check_fields(path, _read(path), _CONFIG_FIELDS)
    from transformers import AutoTokenizer

    try:
        # False, not the default: it asks whether to run code that comes with the model, and runs it.
        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises no narrower class
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{_given(path)}: the tokenizer needs code that comes with the model, which is never run: use another "
                "base model"
            ) from None
        _explain(_given(folder / _TOKENIZER))
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"cannot load a tokenizer from {folder_name(folder)} ({line})") from None
    if not found.is_fast:
        raise UserError(
            f"{folder_name(folder)} has no {_TOKENIZER} that can be read: save the tokenizer with transformers first"
        )
    return found


def end_tokens(folder: Path) -> tuple[int, ...]:
    """The tokens that end an answer by generation_config.json; none if there is no such file or field.

    Raises:
        UserError: the file is damaged, or a token in it is no integer.
    """
    path = _given(folder / _GENERATION)
    content = _read(path)
    _check_fields(path, content, _GENERATION_FIELDS)
    ends = content.get("eos_token_id")
    return tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,)


def template_place(folder: Path) -> str:
    """The file that the chat template stands in."""
    return str(_given(folder / (_TEMPLATE if (folder / _TEMPLATE).is_file() else _CONFIG)))


def folder_name(folder: Path) -> str:
    """The folder as the person knows it, for error messages."""
    return str(_given(folder / _TOKENIZER).parent)


def _given(path: Path) -> Path:
    """The person's file, if this is our link to it."""
    target = path.readlink() if path.is_symlink() else path
    return target if target.name == path.name and target.is_absolute() else path


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): restore or download the file again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object; it holds {type(content).__name__}")
    return content


def _is_token(value: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, dict) and _is_text(value.get("content")))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_template(value: Any) -> bool:
    if isinstance(value, list):
        return all(
            isinstance(each, dict) and _is_text(each.get("name")) and _is_text(each.get("template")) for each in value
        )
    return value is None or isinstance(value, str)


def _is_id(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_id_or_none(value: Any) -> bool:
    return value is None or _is_id(value)


def _are_ids(value: Any) -> bool:
    return _is_id_or_none(value) or (isinstance(value, list) and all(map(_is_id, value)))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


_Fields = dict[str, tuple[Callable[[Any], bool], str]]
_ONE = "the text of a token, an object with its content, or null"
_CONFIG_FIELDS: _Fields = {
    **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), (_is_token, _ONE)),
    "chat_template": (_is_template, "a text, or a list of objects with name and template"),
    "added_tokens_decoder": (_is_table, "an object of tokens by their ids"),
    "tokenizer_class": (lambda value: value is None or _is_text(value), "the name of a class"),
}
_GENERATION_FIELDS: _Fields = {
    "eos_token_id": (_are_ids, "an integer, or a list of integers"),
    "bos_token_id": (_is_id_or_none, "an integer"),
    "pad_token_id": (_is_id_or_none, "an integer"),
}


def _check_fields(path: Path, content: dict[str, Any], fields: _Fields) -> None:
    for name, (allowed, what) in fields.items():
        if name in content and not allowed(content[name]):
            raise UserError(f"{path}: {name} is {content[name]!r}, and must be {what}: correct the file")


def _explain(path: Path) -> None:
    """Raises what is wrong with tokenizer.json, if that is it."""
    import tokenizers

    if not path.is_file():
        raise UserError(f"cannot load a tokenizer from {path.parent}: it has no {_TOKENIZER}")
    _read(path)
    try:
        tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower class
        raise UserError(
            f"{path} has a part that the installed tokenizers {tokenizers.__version__} does not know "
            f"({' '.join(str(error).split())[:160]}): upgrade the package tokenizers, or use another base model"
        ) from None
