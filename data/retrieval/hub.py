"""Models for retrieval: found as a folder or on the Hugging Face Hub, and loaded one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        UserError: there is no such model, it cannot be downloaded, or the folder lacks the files.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.count("/") > 1 or name.startswith((".", "/", "~")):
            raise UserError(f"no folder {name}: {advice}")
        folder = _download(name, kind, advice)
    if not any((folder / file).is_file() for file in needed):
        raise UserError(f"{folder} holds no {kind}: it needs {' or '.join(needed)}, weights and a tokenizer")
    return folder


def _download(name: str, kind: str, advice: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        model, _, revision = name.partition("@")
        return Path(snapshot_download(model, revision=revision or None, ignore_patterns=_IGNORED))
    except GatedRepoError:
        raise UserError(f"the {kind} {name} needs permission on huggingface.co: set HF_TOKEN, or {advice}") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(f"there is no {kind} {name} on huggingface.co: {advice}") from None
    except OSError as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"the {kind} {name} cannot be fetched ({first_line}): check the network, or {advice}") from None


@contextmanager
def loading(folder: Path, kind: str) -> Iterator[None]:
    """Loads one model at a time, without transformers' progress bar.

    Raises:
        UserError: the block raised what libraries raise on damaged or foreign files.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        with _LOADING:
            yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"{folder} cannot be loaded as {kind} ({first_line}): fetch it again") from None
    finally:
        transformers_logging.enable_progress_bar()
