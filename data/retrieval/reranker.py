"""A cross-encoder's judgement of how well a text answers a question: orders what is found, and guards distractors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data.retrieval.embeddings import LOADING
from user_error import UserError

#: (question, text) pairs to numbers from 0 to 1, float32 [N].
Score = Callable[[Sequence[tuple[str, str]]], np.ndarray]

_BATCH = 32


def resolve_reranker(name: str) -> Path:
    """The folder of a cross-encoder; a Hugging Face id is fetched, or taken from Hugging Face's cache.

    Raises:
        UserError: nothing is there under that name, or it cannot be fetched.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.count("/") > 1 or name.startswith((".", "/", "~")):
            raise UserError(f"no folder {name}: name a cross-encoder's folder or a Hugging Face id")
        folder = _fetch(name)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no cross-encoder: it needs config.json, weights and a tokenizer")
    return folder


def load_reranker(folder: Path) -> Score:
    """The cross-encoder of a folder, as a function of (question, text) pairs; its scores lie between 0 and 1.

    Raises:
        UserError: it cannot be loaded, or has more than one output.
    """
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging as transformers_logging

    device = "cuda" if torch.cuda.is_available() else "cpu"
    transformers_logging.disable_progress_bar()
    try:
        with LOADING:
            model = CrossEncoder(str(folder), device=device, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"{folder} cannot be loaded as a cross-encoder ({first_line}): fetch it again") from None
    finally:
        transformers_logging.enable_progress_bar()
    if model.num_labels != 1:
        raise UserError(f"the model in {folder} gives {model.num_labels} numbers for a pair: name one that gives one")

    def score(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        # Always through the sigmoid: some models are saved to give logits, and a share of a logit means nothing.
        found = model.predict(list(pairs), batch_size=_BATCH, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False)
        return np.asarray(found, np.float32)

    return score


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        other = ["*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot", "onnx/*", "openvino/*"]
        model, _, revision = name.partition("@")
        return Path(snapshot_download(model, revision=revision or None, ignore_patterns=other))
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(f"there is no cross-encoder {name} on huggingface.co: name a folder or another id") from None
    except OSError as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"the cross-encoder {name} cannot be fetched ({first_line}): name a folder") from None
