"""Tensors of a Hugging Face folder: opened lazily, and checked against the table of parameters."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import WEIGHTS, WEIGHTS_INDEX, read_object
from jora_model.spec.parameters import HEAD, parameters_of, shape_of
from user_error import UserError

# Old checkpoints carry buffers that are computed here.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)


def open_tensors(path: Path) -> Any:
    """Open a safetensors file for NumPy; only its header is read.

    Raises:
        UserError: it does not exist or is damaged.
    """
    try:
        return safe_open(path, framework="numpy")
    except FileNotFoundError:
        raise UserError(f"{path.parent} lacks {path.name}") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); copy or download the file again") from None


def tensor_files(folder: Path) -> dict[str, str]:
    """Return tensor name -> name of the file that holds it, checked against the header of each file.

    Raises:
        UserError: the folder has no safetensors, the index is broken, a file is missing or damaged, or a file lacks a
            tensor that the index assigns to it.
    """
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        return dict.fromkeys(open_tensors(folder / WEIGHTS).keys(), WEIGHTS)
    files = read_object(index).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise UserError(f"{index} has no weight_map from tensor names to files; download the file again")
    stored = {file: set(open_tensors(folder / file).keys()) for file in sorted(set(files.values()))}
    for name, file in files.items():
        if name not in stored[file]:
            raise UserError(f"{folder / file} lacks tensor {name}, which {WEIGHTS_INDEX} assigns to it")
    return files


class Checkpoint:
    """The tensors of a Hugging Face folder, opened lazily: name -> slices."""

    def __init__(self, folder: Path):
        """Raises UserError as `tensor_files` does."""
        self.folder = Path(folder)
        self._files = tensor_files(self.folder)

    def names(self) -> set[str]:
        """All tensor names."""
        return set(self._files)

    def slice(self, name: str) -> Any:
        """Return a lazy slice of a tensor (`get_shape()`; indexing reads from disk). Drop it after reading.

        The slice keeps its file mapped, and pages that were read count as this process's memory: slices that are kept
        take as much memory as the model itself (measured, bench/loading.py).
        """
        return open_tensors(self.folder / self._files[name]).get_slice(name)


def check_names(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """Check that the checkpoint has every parameter of the table, with its shape, and no other tensor.

    Raises:
        UserError: names the missing or unknown tensors, or the one of another shape.
    """
    present = {name for name in checkpoint.names() if not name.endswith(_IGNORED_SUFFIXES)}
    expected = {
        name: shape_of(parameter, config)[1 if parameter.stacked else 0 :]
        for parameter in parameters_of(config)
        for name in parameter.hf_names(config.num_layers)
    }
    if config.tie_embeddings:
        # Some tied checkpoints store the head as well; it equals the embedding.
        present.discard(HEAD.hf)
    for what, names in (("lacks", set(expected) - present), ("holds unknown", present - set(expected))):
        if names:
            shown = ", ".join(sorted(names)[:3])
            raise UserError(
                f"{checkpoint.folder} {what} {len(names)} tensors: {shown}{', ...' if len(names) > 3 else ''}"
            )
    for name, shape in expected.items():
        actual = tuple(checkpoint.slice(name).get_shape())
        if actual != shape:
            raise UserError(f"{checkpoint.folder}: {name} has shape {actual}; config.json says {shape}")
