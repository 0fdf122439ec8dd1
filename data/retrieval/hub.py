"""Resolves models for retrieval (a folder or a Hugging Face id) and loads one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.files.hub_errors import translated
from data.retrieval.model_folder import check_folder
from user_error import UserError

# Other runtimes' copies of the weights.
_IGNORED = ["*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot", "onnx/*", "openvino/*"]
# transformers replaces methods of its classes while it loads a model (`no_tie_weights`): two loads at once can leave
# them replaced, and every model loaded after that has uninitialized weights.
_LOADING = threading.Lock()


def resolve_model(name: str, kind: str, advice: str, needed: tuple[str, ...]) -> Path:
    """The folder of a model; a Hugging Face id is downloaded, or taken from Hugging Face's cache.

    Args:
        name: a folder, or "owner/model", with "@revision" if wanted.
        kind: what error messages call the model.
        advice: what to give instead, for error messages.
        needed: the folder must hold one of these files.

    Raises:
        UserError: there is no such model, the folder lacks the files, or it names code (model_folder.py).
        Unreachable: it cannot be downloaded at the moment.
        OSError: the disk is full.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.count("/") > 1 or name.startswith((".", "/", "~")):
            raise UserError(f"no folder {name}: {advice}")
        folder = _download(name, kind, advice)
    if not any((folder / file).is_file() for file in needed):
        raise UserError(f"{folder} holds no {kind}: it needs {' or '.join(needed)}, weights and a tokenizer")
    check_folder(folder, kind)
    return folder


def _download(name: str, kind: str, advice: str) -> Path:
    from huggingface_hub import snapshot_download

    model, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(model, revision=revision or None, ignore_patterns=_IGNORED))
    except Exception as error:  # of the hub's client, of the network
        raise translated(error, f"the {kind} {name}", advice) from None


@contextmanager
def loading(folder: Path, kind: str) -> Iterator[None]:
    """Loads one model at a time, without transformers' progress bar.

    Raises:
        UserError: the folder names code, or the block raised what libraries raise on damaged or foreign files.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    check_folder(folder, kind.partition(" ")[2])
    transformers_logging.disable_progress_bar()
    try:
        with _LOADING:
            yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        first_line = str(error).partition("\n")[0]
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{folder} cannot be loaded as {kind} without code that comes with it, and code of a model is never "
                "run: name another one"
            ) from None
        raise UserError(f"{folder} cannot be loaded as {kind} ({first_line}): fetch it again") from None
    finally:
        transformers_logging.enable_progress_bar()
