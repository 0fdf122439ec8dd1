"""Tensors of a Hugging Face folder: opened lazily, and checked against the table of parameters."""

import functools
import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from jora_model.formats.tensor_file import Tensor, open_tensors, read_header
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import WEIGHTS, WEIGHTS_INDEX, read_object
from jora_model.spec.parameters import EMBED, HEAD, parameters_of, shape_of
from user_error import UserError

__all__ = [
    "Checkpoint",
    "check_names",
    "facts_and_weights",
    "model_facts",
    "open_tensors",
    "rounding_note",
    "tensor_files",
]

log = logging.getLogger(__name__)

# Old checkpoints carry buffers that are computed here.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)
_SHARD = re.compile(r"model-(\d+)-of-(\d+)\.safetensors")
_COMPARED = 1 << 22  # weights of embedding and head that are compared at once
_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def tensor_files(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of all weight files by name, from the header of each file.

    The files are those that transformers reads: model.safetensors if there is one, or else those that the index lists.
    Shards without an index are read if none is missing.

    Raises:
        UserError: the folder has no safetensors, the index is broken or lists what is not there, a file is missing or
            damaged, two files hold the same tensor, or a file lacks a tensor that the index assigns to it.
    """
    index = folder / WEIGHTS_INDEX
    listed = _read_index(index) if index.is_file() else {}
    files: Iterable[str] = sorted(set(listed.values()))
    if (folder / WEIGHTS).exists():
        if listed and set(files) != {WEIGHTS}:
            log.warning("%s holds %s and %s: the former is read", folder, WEIGHTS, WEIGHTS_INDEX)
            listed = {}
        files = [WEIGHTS]
    elif not listed:
        files = _shards(folder)
    stored = {file: read_header(folder / file) for file in files}
    for name, file in listed.items():
        if name not in stored[file]:
            raise UserError(f"{folder / file} lacks tensor {name}, which {WEIGHTS_INDEX} assigns to it")
    for name, count in Counter(name for header in stored.values() for name in header).items():
        if count > 1:
            holders = ", ".join(file for file, header in stored.items() if name in header)
            raise UserError(f"{folder}: {holders} each hold {name}; delete the files that are not of this model")
    return {name: tensor for header in stored.values() for name, tensor in header.items()}


def _read_index(path: Path) -> dict[str, str]:
    """Return tensor name -> file of an index, which must be files of its own folder."""
    files = read_object(path).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise UserError(f"{path} has no weight_map from tensor names to files; download the file again")
    for name, file in files.items():
        if Path(file).name != file or "\0" in file or not file.endswith(".safetensors"):
            raise UserError(
                f"{path} assigns {name} to {file!r}, which is no safetensors file of its folder; download it again"
            )
    return files


def _shards(folder: Path) -> list[str]:
    """The files model-0000i-of-0000n.safetensors of a folder without an index; model.safetensors if there are none."""
    found = {file.name: match for file in sorted(folder.glob("model-*")) if (match := _SHARD.fullmatch(file.name))}
    if not found:
        return [WEIGHTS]
    totals = {match[2] for match in found.values()}
    if len(totals) > 1:
        raise UserError(
            f"{folder} holds shards of {' and of '.join(sorted(totals))} files, and no {WEIGHTS_INDEX} that lists "
            "those of this model; delete the others"
        )
    (total,) = totals
    width = len(next(iter(found.values()))[1])
    wanted = [f"model-{number:0{width}d}-of-{total}.safetensors" for number in range(1, int(total) + 1)]
    missing = [name for name in wanted if name not in found]
    if missing or len(found) != len(wanted):
        raise UserError(
            f"{folder} lacks {', '.join(missing[:3]) or WEIGHTS_INDEX} (it has {len(found)} of {int(total)} shards); "
            "download the model again"
        )
    return wanted


class Checkpoint:
    """The tensors of a Hugging Face folder, read on request.

    Attributes:
        tensors: name -> dtype, shape and place of each tensor.
    """

    def __init__(self, folder: Path, rounded: bool = False):
        """
        Args:
            rounded: float16 is rounded to bfloat16 when it is read.

        Raises:
            UserError: as `tensor_files`.
        """
        self.folder = Path(folder)
        self.tensors = tensor_files(self.folder)
        if rounded:
            self.tensors = {name: replace(tensor, rounded=True) for name, tensor in self.tensors.items()}

    def names(self) -> set[str]:
        """All tensor names."""
        return set(self.tensors)

    def slice(self, name: str) -> Tensor:
        """Return a lazy slice of a tensor, like safetensors' own: indexing reads from disk, and checks the values."""
        return self.tensors[name]


def model_facts(folder: Path) -> ModelConfig:
    """Return the facts of a model folder: those of config.json, and whether the head that is stored is the embedding.

    As in transformers, `tie_word_embeddings` does not hold if the folder has a head of its own with other values, and a
    head stands for an embedding that is not stored. All
    headers are read and checked; of the weights only embedding and head, a piece at a time, where both are stored.

    Raises:
        UserError: config.json or a weight file is missing, broken or not implemented, or they do not fit one another.
    """
    return facts_and_weights(folder)[0]


def facts_and_weights(folder: Path, rounded: bool = False) -> tuple[ModelConfig, Checkpoint]:
    """Return `model_facts`, and the weights that they were checked against.

    Args:
        rounded: as in `Checkpoint`.

    Raises:
        UserError: as `model_facts`.
    """
    config = ModelConfig.read(folder)
    checkpoint = Checkpoint(folder, rounded)
    if config.tie_embeddings and EMBED.hf not in checkpoint.tensors and HEAD.hf in checkpoint.tensors:
        # Tied from the other side: transformers takes whichever of the two is stored.
        checkpoint.tensors[EMBED.hf] = checkpoint.tensors.pop(HEAD.hf)
    if config.tie_embeddings and HEAD.hf in checkpoint.tensors and EMBED.hf in checkpoint.tensors:
        untied = replace(config, tie_embeddings=False)
        check_names(checkpoint, untied)
        if not _equal(checkpoint.tensors[EMBED.hf], checkpoint.tensors[HEAD.hf]):
            _say_untied(checkpoint.tensors[HEAD.hf].path.resolve())
            return untied, checkpoint
    check_names(checkpoint, config)
    return config, checkpoint


@functools.cache  # once for a file, which is opened several times
def _say_untied(path: Path) -> None:
    log.warning(
        "%s: %s has other values than %s, so they are not tied (as in transformers), whatever tie_word_embeddings says",
        path,
        HEAD.hf,
        EMBED.hf,
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two matrices of one shape have equal values."""
    a, b = (replace(tensor, rounded=False) for tensor in (a, b))
    rows = max(_COMPARED // max(a.shape[1], 1), 1)
    for start in range(0, a.shape[0], rows):
        part = (slice(start, start + rows), slice(None))
        left, right = a[part], b[part]
        if left.dtype != right.dtype:
            left, right = left.astype(np.float64), right.astype(np.float64)
        if not np.array_equal(left, right):
            return False
    return True


def check_names(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """Check that the checkpoint has every parameter of the table, with its shape and a dtype of weights, and no other
    tensor.

    Raises:
        UserError: names the missing or unknown tensors, or the one of another shape or dtype.
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
        tensor = checkpoint.tensors[name]
        tensor.check_dtype()
        if tensor.shape != shape:
            raise UserError(f"{checkpoint.folder}: {name} has shape {tensor.shape}; config.json says {shape}")


def rounding_note(checkpoint: Checkpoint, compute_dtype: str) -> str | None:
    """Return a sentence about weights that training rounds to bfloat16; None if it takes all as they are stored."""
    if compute_dtype != "bfloat16":
        return None
    stored = {tensor.dtype for tensor in checkpoint.tensors.values() if len(tensor.shape) > 1}
    for dtype, merged in (
        ("F16", "and so are all weights of the merged model, which is the one that was trained"),
        ("F32", "while the merged model keeps float32"),
        ("F64", "while the merged model keeps float64"),
    ):
        if dtype in stored:
            return (
                f"the base's weights are {_NAMES[dtype]} and are rounded to bfloat16 (each by at most 1 part in 256) "
                f"for training and answering, {merged}; training.compute_dtype=float32 trains with them as they are"
            )
    return None
