"""What leaves the pipeline: a PEFT adapter folder, and the base model with the adapter merged into it.

Plain NumPy on the host, tensor by tensor. Rank, alpha and targets come from the adapter's own config, so that
export cannot disagree with training.
"""

import json
import shutil
from pathlib import Path

import numpy as np

from jora_model.cards import CardFacts, adapter_card, base_of, merged_card
from jora_model.config import ModelConfig
from jora_model.lora import read_adapter, read_adapter_settings
from jora_model.parameters import parameters_of
from jora_model.shards import write_shards
from jora_model.weights import Checkpoint, check_names

__all__ = ["CardFacts", "export_adapter", "merge"]

# Everything that transformers reads beside the weights; a base model has some of them.
_BASE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def export_adapter(adapter: Path, folder: Path, facts: CardFacts) -> None:
    """Write adapter_model.safetensors (unchanged), adapter_config.json (naming the base for others) and README.md.

    Raises:
        ValueError: no adapter there, or one with a PEFT feature that is not implemented.
    """
    lora = read_adapter_settings(adapter)
    if not (adapter / "adapter_model.safetensors").is_file():
        raise ValueError(f"{adapter} holds no adapter_model.safetensors")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(adapter / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_of(facts)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(adapter_card(facts, lora), encoding="utf-8")


def merge(base: Path, adapter: Path, folder: Path, facts: CardFacts, max_shard_bytes: int) -> None:
    """Write a Hugging Face folder with `W + scale * B A` in place of every adapted weight.

    The sum is taken in float32 and rounded once, to the dtype that the base stores the weight in.

    Args:
        max_shard_bytes: no weights file is larger, except one that holds a single larger tensor.

    Raises:
        ValueError: a file is missing or damaged, or the adapter is not one of this base model.
    """
    config = ModelConfig.read(base)
    checkpoint = Checkpoint(base)
    check_names(checkpoint, config)
    lora, factors = read_adapter(adapter, config)
    # Tensor name -> (target, layer) of those that change.
    adapted: dict[str, tuple[str, int]] = {}
    sizes: dict[str, int] = {}
    for parameter in parameters_of(config):
        for layer, name in enumerate(parameter.hf_names(config.num_layers)):
            part = checkpoint.slice(name)
            dtype = part.get_dtype()
            if dtype not in _BYTES:
                raise ValueError(f"{base}: {name} is stored as {dtype}; allowed are {', '.join(_BYTES)}")
            sizes[name] = _BYTES[dtype] * int(np.prod(part.get_shape()))
            if parameter.name in factors:
                adapted[name] = (parameter.name, layer)

    def merged(name: str) -> np.ndarray:
        weight: np.ndarray = checkpoint.slice(name)[:]
        if name not in adapted:
            return weight
        target, layer = adapted[name]
        a, b = (factor[layer] for factor in factors[target])
        return (weight.astype(np.float32) + np.float32(lora.scale) * (b @ a)).astype(weight.dtype)

    folder.mkdir(parents=True, exist_ok=True)
    write_shards(folder, sizes, merged, max_shard_bytes)
    for file in _BASE_FILES:
        if (base / file).is_file():
            shutil.copyfile(base / file, folder / file)
    (folder / "README.md").write_text(merged_card(facts, lora), encoding="utf-8")
