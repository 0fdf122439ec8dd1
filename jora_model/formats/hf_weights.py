"""The tensors of a Hugging Face folder: opened lazily, and checked against the table of parameters."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import parameters_of, shape_of
from user_error import UserError

# Old checkpoints carry buffers that are computed here.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)


class Checkpoint:
    """The tensors of a Hugging Face folder, opened lazily: name -> slices."""

    def __init__(self, folder: Path):
        """Raises UserError when the folder has no safetensors, or a file is damaged."""
        self.folder = Path(folder)
        self._home = self._find()

    def names(self) -> set[str]:
        """All tensor names."""
        return set(self._home)

    def slice(self, name: str) -> Any:
        """A lazy slice of a tensor (`get_shape()`, indexing reads from disk); let it go once it is read.

        Its file is mapped as long as it lives, and what was read counts as this process's memory: kept open, the
        files of a model would take as much again as the model (measured, bench/loading.py).
        """
        return self._open(self._home[name]).get_slice(name)

    def _find(self) -> dict[str, str]:
        index = self.folder / "model.safetensors.index.json"
        if index.exists():
            return dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        if not (self.folder / "model.safetensors").exists():
            raise UserError(
                f"{self.folder} holds neither model.safetensors nor model.safetensors.index.json; "
                "give a Hugging Face folder with safetensors"
            )
        return dict.fromkeys(self._open("model.safetensors").keys(), "model.safetensors")

    def _open(self, file: str) -> Any:
        try:
            return safe_open(self.folder / file, framework="numpy")
        except FileNotFoundError:
            raise UserError(f"{self.folder} lacks {file}, which its index names") from None
        except SafetensorError as error:
            raise UserError(f"{self.folder / file} is damaged: {error}") from None


def check_names(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """Every parameter of the table is there with its shape, and nothing else is.

    Raises:
        UserError: names the missing, the unknown, or the tensor of another shape.
    """
    found = {name for name in checkpoint.names() if not name.endswith(_IGNORED_SUFFIXES)}
    expected = {
        name: shape_of(parameter, config)[1 if parameter.stacked else 0 :]
        for parameter in parameters_of(config)
        for name in parameter.hf_names(config.num_layers)
    }
    if config.tie_embeddings:
        # Some tied checkpoints store the head as well; it is the embedding.
        found.discard("lm_head.weight")
    for what, names in (("lacks", set(expected) - found), ("holds unknown", found - set(expected))):
        if names:
            shown = ", ".join(sorted(names)[:3])
            raise UserError(
                f"{checkpoint.folder} {what} {len(names)} tensors: {shown}{', ...' if len(names) > 3 else ''}"
            )
    for name, shape in expected.items():
        actual = tuple(checkpoint.slice(name).get_shape())
        if actual != shape:
            raise UserError(f"{checkpoint.folder}: {name} has shape {actual}; config.json says {shape}")
