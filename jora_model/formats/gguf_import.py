"""Convert a `.gguf` file of the Llama architecture to a Hugging Face model folder, without torch.

    import_gguf(Path("SmolLM2-135M-Instruct.Q4_1.gguf"), Path("base"))

Quantised weights are dequantised to bfloat16 tensor by tensor. Fields that are not implemented are rejected by name,
since an ignored field can change every logit.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from gguf import GGUFReader, ReaderTensor, quants

from jora_model.formats.gguf_rows import from_gguf_rows
from jora_model.formats.gguf_tokenizer import check_fields, tokenizer_config, tokenizer_of
from jora_model.formats.shards import write_shards
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG
from jora_model.spec.parameters import parameters_of
from user_error import UserError

_MAX_SHARD_BYTES = 2 * 2**30

# Fields that are read into config.json below.
_READ = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
}
# Fields with the only implemented value.
_ONLY = {"rope.scaling.type": "none", "expert_count": 0, "expert_used_count": 0}


def import_gguf(gguf_path: Path, folder: Path) -> None:
    """Write config.json, model.safetensors (bfloat16), the tokenizer files and generation_config.json.

    Args:
        gguf_path: a GGUF file of the architecture `llama` with a byte-level tokenizer.
        folder: created if missing; existing files are replaced. The same GGUF gives the same bytes.

    Raises:
        UserError: the file is missing or not GGUF, or uses a feature that is not implemented (named): another
            architecture, rope scaling, another tokenizer, an unknown tensor or field.
    """
    reader, facts = _open(gguf_path)
    # The tokenizer comes first, so that an unsupported one is rejected before any weight is converted.
    try:
        tokenizer = tokenizer_of(facts)
        config = _config(facts, _tensor_names(reader))
        model = ModelConfig.from_hf(config)
        tensors = _tensors(reader, model)
    except UserError as error:
        raise UserError(f"{gguf_path}: {error}") from None

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER))
    _write_json(folder / TOKENIZER_CONFIG, tokenizer_config(facts, config["max_position_embeddings"]))
    ids: dict[str, Any] = {
        key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config
    }
    _write_json(folder / GENERATION_CONFIG, ids)
    _write_json(folder / CONFIG, config)
    sizes = {name: 2 * int(tensor.n_elements) for name, tensor in tensors.items()}
    write_shards(folder, sizes, lambda name: _widen(name, tensors[name], model), _MAX_SHARD_BYTES)


def gguf_config(gguf_path: Path) -> dict[str, Any]:
    """Return the `config.json` that `import_gguf` would write; reads only the file's header.

    Raises:
        UserError: as `import_gguf`.
    """
    reader, facts = _open(gguf_path)
    try:
        return _config(facts, _tensor_names(reader))
    except UserError as error:
        raise UserError(f"{gguf_path}: {error}") from None


def _open(gguf_path: Path) -> tuple[GGUFReader, dict[str, Any]]:
    """Return the reader, and the fields except the descriptive ones (`general.`)."""
    if not gguf_path.is_file():
        raise UserError(f"{gguf_path} does not exist; name a .gguf file")
    try:
        reader = GGUFReader(gguf_path)
        fields = {key: field.contents() for key, field in reader.fields.items()}
    # The reader does not validate the file: a damaged one raises various errors of NumPy.
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise UserError(f"{gguf_path} cannot be read as GGUF ({error}); download the file again") from None
    architecture = fields.get("general.architecture")
    if architecture != "llama":
        raise UserError(f"{gguf_path}: GGUF architecture {architecture!r} is not implemented; only 'llama' is")
    return reader, {key: value for key, value in fields.items() if not key.startswith(("general.", "GGUF."))}


def _tensor_names(reader: GGUFReader) -> set[str]:
    return {tensor.name for tensor in reader.tensors}


def _config(facts: Mapping[str, Any], tensor_names: set[str]) -> dict[str, Any]:
    """Return the `config.json` that the GGUF fields describe."""
    llama = {key.removeprefix("llama."): value for key, value in facts.items() if key.startswith("llama.")}
    check_fields("llama.", llama, _READ, _ONLY)
    if "rope_freqs.weight" in tensor_names:
        raise UserError(
            "rope scaling as a tensor (rope_freqs.weight, Llama 3) is not implemented, since its four parameters "
            "cannot be recovered from it; use the model's Hugging Face id or folder"
        )
    heads = _integer(llama, "attention.head_count")
    hidden = _integer(llama, "embedding_length")
    head_dim = llama.get("attention.key_length", hidden // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if llama.get(key, head_dim) != head_dim:
            raise UserError(f"llama.{key}={llama[key]} differs from the head dim {head_dim}, which is not implemented")
    ids = {
        f"{hf_name}_token_id": facts[f"tokenizer.ggml.{name}_token_id"]
        for name, hf_name in (("bos", "bos"), ("eos", "eos"), ("padding", "pad"))
        if f"tokenizer.ggml.{name}_token_id" in facts
    }
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        **ids,
        "dtype": "bfloat16",
        "head_dim": head_dim,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": _integer(llama, "feed_forward_length"),
        "max_position_embeddings": _integer(llama, "context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": _integer(llama, "block_count"),
        "num_key_value_heads": llama.get("attention.head_count_kv", heads),
        "rms_norm_eps": _shortest(_need(llama, "attention.layer_norm_rms_epsilon")),
        "rope_theta": _shortest(llama.get("rope.freq_base", 10_000.0)),
        "tie_word_embeddings": "output.weight" not in tensor_names,
        "vocab_size": llama.get("vocab_size", len(facts["tokenizer.ggml.tokens"])),
    }


def _tensors(reader: GGUFReader, config: ModelConfig) -> dict[str, ReaderTensor]:
    """Return the file's tensors by their Hugging Face names, layer by layer.

    Raises:
        UserError: a tensor is missing or unknown.
    """
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    parameters = parameters_of(config)
    wanted = {parameter.gguf: parameter.hf for parameter in parameters if not parameter.stacked}
    for layer in range(config.num_layers):
        wanted |= {p.gguf.format(layer=layer): p.hf.format(layer=layer) for p in parameters if p.stacked}
    missing, unknown = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing:
        raise UserError(f"tensor {missing[0]} is missing ({len(missing)} of {len(wanted)} are)")
    if unknown:
        raise UserError(f"tensor {unknown[0]} is not implemented ({len(unknown)} such)")
    return {hf_name: tensors[name] for name, hf_name in wanted.items()}


def _widen(name: str, tensor: ReaderTensor, config: ModelConfig) -> np.ndarray:
    """Return one tensor in bfloat16 with rows in Hugging Face's order."""
    try:
        weights = quants.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        raise UserError(
            f"tensor {tensor.name} is of type {tensor.tensor_type.name}, which the package gguf cannot dequantise; "
            "use a file of another quantisation"
        ) from None
    return from_gguf_rows(name, weights, config).astype(ml_dtypes.bfloat16)


def _need(llama: Mapping[str, Any], key: str) -> Any:
    if key not in llama:
        raise UserError(f"field llama.{key} is missing")
    return llama[key]


def _integer(llama: Mapping[str, Any], key: str) -> int:
    value = _need(llama, key)
    if not isinstance(value, int):
        raise UserError(f"llama.{key} differs between layers, which is not implemented")
    return value


def _shortest(value: float) -> float:
    """Return the shortest decimal of a float32: GGUF's 1e-5 reads as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
