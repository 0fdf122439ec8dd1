"""Cross-encoders score how well a text answers a question, to re-rank chunks and to check distractors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data.retrieval.hub import loading, resolve_model
from user_error import UserError

#: (question, text) pairs to numbers from 0 to 1, float32 [N].
ScorePairs = Callable[[Sequence[tuple[str, str]]], np.ndarray]

_BATCH = 32


def resolve_reranker(name: str) -> Path:
    """The folder of a cross-encoder; a Hugging Face id is downloaded, or taken from Hugging Face's cache.

    Raises:
        UserError, Unreachable, OSError: as `resolve_model`.
    """
    return resolve_model(name, "cross-encoder", "name a cross-encoder's folder or a Hugging Face id", ("config.json",))


def load_reranker(folder: Path) -> ScorePairs:
    """The cross-encoder of a folder, as a function of (question, text) pairs; scores are between 0 and 1.

    Raises:
        UserError: it cannot be loaded, or has more than one output.
    """
    import torch
    from sentence_transformers import CrossEncoder

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with loading(folder, "a cross-encoder"):
        model = CrossEncoder(str(folder), device=device, local_files_only=True)
    if model.num_labels != 1:
        raise UserError(f"the model in {folder} has {model.num_labels} outputs: use a cross-encoder with one output")

    def score(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        # Always through the sigmoid: some models are saved to return logits, which have no fixed scale.
        scores = model.predict(
            list(pairs), batch_size=_BATCH, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
        )
        return np.asarray(scores, np.float32)

    return score
