"""Write an adapter alone as a GGUF file, which llama.cpp and Ollama add to a GGUF of the base model, unmerged.

Fields, names and shapes follow llama.cpp's convert_lora_to_gguf.py and what its loader checks (llama-adapter.cpp): A is
`[R, in]` and B `[out, R]`, with the rows of B in the order of the base's GGUF; the output is multiplied by alpha / R.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from jora_model.formats.fitted_adapter import FittedAdapter
from jora_model.formats.gguf_facts import architecture_of
from jora_model.formats.gguf_rows import to_gguf_rows
from jora_model.formats.hf_weights import facts_and_weights
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME
from jora_model.spec.settings import GgufLoraKind
from user_error import UserError

_DTYPES: dict[str, np.dtype] = {"f16": np.dtype(np.float16), "f32": np.dtype(np.float32)}
_FILE_TYPES = {"f16": gguf.LlamaFileType.MOSTLY_F16, "f32": gguf.LlamaFileType.ALL_F32}


def export_gguf_lora(adapter: Path, base: Path, path: Path, kind: GgufLoraKind, name: str, license: str | None) -> int:
    """Write the file, read it back, compare every tensor, and return the number of adapted weights.

    Args:
        base: folder of the base model.
        name, license: metadata of the file.

    Raises:
        UserError: the adapter has what a GGUF adapter cannot hold (DoRA, weights in place of the base's), a value
            exceeds f16's range, or a tensor reads back wrong.
    """
    config, checkpoint = facts_and_weights(base)
    fitted = FittedAdapter(adapter, config, checkpoint)
    if fitted.magnitudes or fitted.replaced.names:
        what = "DoRA" if fitted.magnitudes else "weights in place of the base model's"
        raise UserError(
            f"{fitted.path} holds {what}, which llama.cpp's adapters cannot; set export.gguf_lora=none and export it "
            "merged: export.gguf=q8_0"
        )
    # The name must be that of the base's own GGUF.
    writer = gguf.GGUFWriter(path, architecture_of(config).name)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    # Not the config's alpha: llama.cpp knows no rank-stabilized scale.
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, fitted.lora.scale * fitted.lora.rank)
    writer.add_name(name)
    if license is not None:
        writer.add_license(license)
    writer.add_file_type(_FILE_TYPES[kind])
    written = {}
    for tensor_name, tensor in _tensors(fitted, config):
        written[tensor_name] = _rounded(tensor_name, tensor, _DTYPES[kind])
        writer.add_tensor(tensor_name, written[tensor_name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = {tensor.name: np.asarray(tensor.data) for tensor in gguf.GGUFReader(path).tensors}
    for tensor_name, tensor in written.items():
        if not np.array_equal(found[tensor_name].reshape(tensor.shape), tensor):
            raise UserError(f"{path.name}: {tensor_name} reads back otherwise than it was written; check the disk")
    return len(written) // 2


def _tensors(fitted: FittedAdapter, config: ModelConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Names and tensors in float32, in the model's order."""
    for target, (a, b) in fitted.factors.items():
        parameter = LINEAR_BY_NAME[target]
        names = zip(parameter.gguf_names(len(a)), parameter.hf_names(len(a)), strict=True)
        for layer, (gguf_name, hf_name) in enumerate(names):
            yield f"{gguf_name}.lora_a", a[layer]
            yield f"{gguf_name}.lora_b", to_gguf_rows(hf_name, b[layer], config)


def _rounded(name: str, tensor: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.abs(tensor).max() > np.finfo(dtype).max:
        raise UserError(f"{name} has weights beyond the range of {dtype.name}; set export.gguf_lora=f32")
    return np.ascontiguousarray(tensor, dtype)
