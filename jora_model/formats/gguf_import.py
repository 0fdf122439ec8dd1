"""Convert a `.gguf` file to a Hugging Face model folder, without torch.

    import_gguf(Path("SmolLM2-135M-Instruct.Q4_1.gguf"), Path("base"))

Quantised weights are dequantised to bfloat16 tensor by tensor; those of a float16 or float32 file keep their dtype.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from gguf import GGML_QUANT_SIZES, ReaderTensor, quants

from jora_model.formats.gguf_config import config_of, dtype_of
from jora_model.formats.gguf_files import GgufFile, read_gguf
from jora_model.formats.gguf_rope import ROPE_TENSORS
from jora_model.formats.gguf_rows import from_gguf_rows
from jora_model.formats.gguf_tokenizer import check_tokenizer, tokenizer_config, tokenizer_of
from jora_model.formats.shards import write_shards
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG
from jora_model.spec.parameters import parameters_of, shape_of
from user_error import UserError

_MAX_SHARD_BYTES = 2 * 2**30
_DTYPES = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
    "float32": np.dtype(np.float32),
}


def import_gguf(gguf_path: Path, folder: Path) -> None:
    """Write config.json, model.safetensors, the tokenizer files and generation_config.json.

    Args:
        gguf_path: a GGUF file of an architecture of `GGUF_ARCHITECTURES`, or one part of a split one.
        folder: created if missing; existing files are replaced. The same GGUF gives the same bytes.

    Raises:
        UserError: the file or a part is missing or not GGUF, or uses a feature that is not implemented (named): another
            architecture, tokenizer or rope scaling, an unknown tensor or field, a type that `gguf` cannot dequantise.
    """
    file = read_gguf(gguf_path)
    # The tokenizer comes first, so that an unsupported one is rejected before any weight is converted.
    try:
        config = config_of(file)
        tokenizer = tokenizer_of(file.fields)
        model = ModelConfig.from_hf(config)
        tensors = _tensors(file, model)
        dtype = _DTYPES[dtype_of(file.tensors)]
    except UserError as error:
        raise UserError(f"{gguf_path}: {error}") from None

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER))
    _write_json(folder / TOKENIZER_CONFIG, tokenizer_config(file.fields, config["max_position_embeddings"]))
    ids: dict[str, Any] = {
        key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(key) is not None
    }
    _write_json(folder / GENERATION_CONFIG, ids)
    _write_json(folder / CONFIG, config)
    sizes = {name: dtype.itemsize * int(tensor.n_elements) for name, tensor in tensors.items()}
    write_shards(folder, sizes, lambda name: _widen(gguf_path, name, tensors[name], model, dtype), _MAX_SHARD_BYTES)


def gguf_config(gguf_path: Path) -> dict[str, Any]:
    """Return the `config.json` that `import_gguf` would write; reads only the file's header.

    Raises:
        UserError: as `import_gguf`.
    """
    file = read_gguf(gguf_path)
    try:
        config = config_of(file)
        _tensors(file, ModelConfig.from_hf(config))
        check_tokenizer(file.fields)
    except UserError as error:
        raise UserError(f"{gguf_path}: {error}") from None
    return config


def _tensors(file: GgufFile, config: ModelConfig) -> dict[str, ReaderTensor]:
    """Return the file's tensors by their Hugging Face names, layer by layer.

    Raises:
        UserError: a tensor is missing or unknown, has another shape than the fields say, or a type that cannot be
            dequantised.
    """
    parameters = parameters_of(config)
    wanted = {parameter.gguf: parameter for parameter in parameters if not parameter.stacked}
    names = {parameter.gguf: parameter.hf for parameter in parameters if not parameter.stacked}
    for layer in range(config.num_layers):
        for parameter in parameters:
            if parameter.stacked:
                name = parameter.gguf.format(layer=layer)
                wanted[name], names[name] = parameter, parameter.hf.format(layer=layer)
    missing = sorted(set(wanted) - set(file.tensors))
    unknown = sorted(set(file.tensors) - set(wanted) - set(ROPE_TENSORS))
    if missing:
        raise UserError(f"tensor {missing[0]} is missing ({len(missing)} of {len(wanted)} are)")
    if unknown:
        raise UserError(f"tensor {unknown[0]} is not implemented ({len(unknown)} such)")
    for name, parameter in wanted.items():
        tensor = file.tensors[name]
        shape = shape_of(parameter, config)[1 if parameter.stacked else 0 :]
        found = tuple(int(size) for size in reversed(tensor.shape.tolist()))
        if found != shape:
            raise UserError(f"tensor {name} has shape {found}; the file's fields say {shape}")
        if not _readable(tensor):
            raise UserError(
                f"tensor {name} is of type {tensor.tensor_type.name}, which the package gguf cannot dequantise; "
                "use a file of another quantisation"
            )
    return {names[name]: file.tensors[name] for name in wanted}


def _readable(tensor: ReaderTensor) -> bool:
    """Whether the package can dequantise this type: tried on one block."""
    _, size = GGML_QUANT_SIZES[tensor.tensor_type]
    try:
        quants.dequantize(tensor.data.reshape(-1).view(np.uint8)[:size], tensor.tensor_type)
    except NotImplementedError:
        return False
    return True


def _widen(path: Path, name: str, tensor: ReaderTensor, config: ModelConfig, dtype: np.dtype[Any]) -> np.ndarray:
    """Return one tensor as Hugging Face stores it, in `dtype`."""
    weights = from_gguf_rows(name, quants.dequantize(tensor.data, tensor.tensor_type), config)
    with np.errstate(over="ignore"):
        stored = weights.astype(dtype)
    if not np.isfinite(stored).all():
        kind = "numbers beyond the range of float16" if np.isfinite(weights).all() else "NaN or infinite numbers"
        raise UserError(f"{path}: tensor {tensor.name} holds {kind}; use another file of the model")
    return stored


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
