"""The chat templates of a model folder, by name, as transformers finds them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jora_model.spec.hf_files import CHAT_TEMPLATE, MORE_TEMPLATES, TOKENIZER_CONFIG
from user_error import UserError

DEFAULT = "default"


def read_templates(folder: Path, tokenizer_config: Mapping[str, Any]) -> dict[str, str]:
    """Return the templates by name; the one that is used unless another is asked for is `default`.

    Files win over tokenizer_config.json, which may hold one template or a list of named ones.

    Raises:
        UserError: a file cannot be read, or the field `chat_template` has a wrong type.
    """
    files = {path.stem: path for path in sorted((folder / MORE_TEMPLATES).glob("*.jinja"))}
    if (folder / CHAT_TEMPLATE).is_file():
        files = {DEFAULT: folder / CHAT_TEMPLATE, **files}
    if files:
        return {name: _read(path) for name, path in files.items()}
    found = tokenizer_config.get("chat_template")
    if found is None or isinstance(found, str):
        return {} if found is None else {DEFAULT: found}
    try:
        named = {str(each["name"]): each["template"] for each in found}
    except (TypeError, KeyError):
        named = {}
    if not named or not all(isinstance(template, str) for template in named.values()):
        raise UserError(
            f"{folder / TOKENIZER_CONFIG}: chat_template must be a text, or a list of objects with name and template"
        )
    return named


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore or download the file again") from None
