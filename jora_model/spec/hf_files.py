"""Names of the files in Hugging Face and PEFT folders, and a reader for those that are JSON."""

import json
from pathlib import Path
from typing import Any

from user_error import UserError

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
MORE_TEMPLATES = "additional_chat_templates"  # a folder of named ones
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Refuse a file of a git clone whose content Git LFS has not fetched; no-op if it cannot be read.

    Raises:
        UserError: the file is a pointer of Git LFS.
    """
    try:
        with path.open("rb") as file:
            found = file.read(len(_POINTER)) == _POINTER
    except OSError:
        return
    if found:
        raise UserError(
            f"{path} is a Git LFS pointer and not the file itself; run `git lfs pull` in {path.parent}, or download "
            "the file"
        )


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        FileNotFoundError, NotADirectoryError: the file does not exist.
        UserError: it cannot be read, is a pointer of Git LFS, is not JSON, or is not an object.
    """
    refuse_pointer(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise UserError(f"{path} is not JSON ({error}); restore or download the file again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object; it holds {type(content).__name__}")
    return content
