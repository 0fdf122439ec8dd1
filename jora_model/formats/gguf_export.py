"""Write the merged model as a GGUF file for llama.cpp, Ollama and LM Studio, without torch.

Written tensor by tensor from float32, so that weights are rounded once. Fields and the order of rows follow llama.cpp's
convert_hf_to_gguf.py.
"""

import math
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

from jora_model.formats.gguf_facts import architecture_of, facts_of
from jora_model.formats.gguf_rows import to_gguf_rows
from jora_model.formats.gguf_vocabulary import vocabulary_of
from jora_model.formats.merged import Merged
from jora_model.spec.parameters import parameters_of
from jora_model.spec.settings import GgufKind
from user_error import UserError

_KINDS = {"f16": Kind.F16, "bf16": Kind.BF16, "q8_0": Kind.Q8_0}
_FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
_Q8_BLOCK = 32
# Largest rounding error relative to the tensor's largest weight: half a step of 8 bits, or of the mantissa.
_BOUNDS = {Kind.F32: 1e-7, Kind.F16: 2.0**-11, Kind.BF16: 2.0**-8, Kind.Q8_0: 1 / 127}


def export_gguf(merged: Merged, tokenizer: Path, path: Path, kind: GgufKind, name: str, license: str | None) -> float:
    """Write the file, read it back, compare every tensor, and return the largest relative error.

    Args:
        tokenizer: a folder with tokenizer.json, tokenizer_config.json and, optionally, a chat template.
        kind: of all matrices; norms are float32, and matrices whose rows Q8_0 blocks do not divide are f16.
        name, license: metadata of the file.

    Returns:
        The largest error of a weight, relative to the largest weight of its tensor.

    Raises:
        UserError: llama.cpp does not compute the model, the tokenizer is not implemented, a weight exceeds f16's range,
            or a tensor reads back wrong.
    """
    config = merged.config
    arch = architecture_of(config).name
    facts, extra = facts_of(config)
    fields = vocabulary_of(tokenizer, config.vocab_size)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(name)
    if license is not None:
        writer.add_license(license)
    writer.add_file_type(_FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    fields |= {f"{arch}.{key}": value for key, value in facts.items()}
    for key, value in fields.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            add = {
                bool: writer.add_bool,
                int: writer.add_uint32,
                float: writer.add_float32,
                str: writer.add_string,
            }[type(value)]
            add(key, value)
    for gguf_name, factors in extra.items():
        writer.add_tensor_info(gguf_name, factors.shape, factors.dtype, factors.nbytes)
    names = _names(merged)
    kinds = {}
    for gguf_name, hf_name in names.items():
        shape = merged.shapes[hf_name]
        kinds[gguf_name] = _kind(shape, _KINDS[kind])
        block, size = gguf.GGML_QUANT_SIZES[kinds[gguf_name]]
        count = math.prod(shape) // block * size
        writer.add_tensor_info(gguf_name, shape, np.dtype(np.float32), count, raw_dtype=kinds[gguf_name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for factors in extra.values():
        writer.write_tensor_data(factors)
    for gguf_name, hf_name in names.items():
        writer.write_tensor_data(_packed(gguf_name, _wide(merged, hf_name), kinds[gguf_name]))
    writer.close()
    return _check(merged, path, names)


def puts_before(tokenizer: Path) -> str | None:
    """Return the text of the token that llama.cpp prepends to every prompt; None if it prepends none."""
    fields = vocabulary_of(tokenizer, 0)
    if not fields["tokenizer.ggml.add_bos_token"] or "tokenizer.ggml.bos_token_id" not in fields:
        return None
    return str(fields["tokenizer.ggml.tokens"][fields["tokenizer.ggml.bos_token_id"]])


def _names(merged: Merged) -> dict[str, str]:
    """Return llama.cpp's name -> Hugging Face's, in the model's order."""
    layers = merged.config.num_layers
    return {
        gguf_name: hf_name
        for parameter in parameters_of(merged.config)
        for gguf_name, hf_name in zip(parameter.gguf_names(layers), parameter.hf_names(layers), strict=True)
    }


def _kind(shape: tuple[int, ...], kind: Kind) -> Kind:
    if len(shape) == 1:
        return Kind.F32
    return Kind.F16 if kind == Kind.Q8_0 and shape[-1] % _Q8_BLOCK else kind


def _wide(merged: Merged, name: str) -> np.ndarray:
    """Return a tensor in float32 with rows in llama.cpp's order."""
    return to_gguf_rows(name, merged.wide(name), merged.config)


def _packed(name: str, weight: np.ndarray, kind: Kind) -> np.ndarray:
    if kind == Kind.F16 and np.abs(weight).max() > np.finfo(np.float16).max:
        raise UserError(f"{name} has weights beyond the range of f16; set export.gguf=bf16 or q8_0")
    return gguf.quants.quantize(np.ascontiguousarray(weight), kind)


def _check(merged: Merged, path: Path, names: dict[str, str]) -> float:
    """Return the largest relative error of a tensor that is read back."""
    written = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    worst = 0.0
    for gguf_name, hf_name in names.items():
        tensor = written[gguf_name]
        wide = _wide(merged, hf_name)
        read = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(wide.shape)
        difference = float(np.abs(read - wide).max() / max(float(np.abs(wide).max()), 1e-30))
        if not difference <= _BOUNDS[tensor.tensor_type]:
            raise UserError(
                f"{path.name}: {gguf_name} reads back with an error of {difference:.2g} of its largest weight, "
                f"more than {tensor.tensor_type.name} allows; check the disk and the version of the package gguf"
            )
        worst = max(worst, difference)
    return worst
