"""Exports: a PEFT adapter folder, and the base model with the adapter merged in.

Plain NumPy on the host, tensor by tensor. Rank, alpha and targets come from the adapter's own config, so that
export cannot disagree with training.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from jora_model.formats.cards import CardFacts, adapter_card, base_of, gguf_card, gguf_lora_card, merged_card
from jora_model.formats.merged import Merged
from jora_model.formats.peft_format import PeftAdapter
from jora_model.formats.shards import write_shards
from jora_model.spec.hf_files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CHAT_TEMPLATE,
    CONFIG,
    GENERATION_CONFIG,
    MORE_TEMPLATES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    read_object,
)
from user_error import UserError

__all__ = ["BASE_FILES", "CardFacts", "Merged", "export_adapter", "merge"]

# All files that transformers reads besides the weights; a base model has some of them.
BASE_FILES = (
    CONFIG,
    GENERATION_CONFIG,
    MORE_TEMPLATES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    CHAT_TEMPLATE,
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


def export_adapter(adapter: Path, folder: Path, facts: CardFacts) -> None:
    """Write adapter_model.safetensors (unchanged), adapter_config.json (naming the base for others) and README.md.

    Raises:
        UserError: the adapter is missing, or uses a PEFT feature that is not implemented.
    """
    opened = PeftAdapter(adapter)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(adapter / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config = read_object(adapter / ADAPTER_CONFIG)
    config["base_model_name_or_path"] = base_of(facts)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(adapter_card(facts, opened.settings, opened.beyond_lora), encoding="utf-8")


def merge(merged: Merged, base: Path, folder: Path, facts: CardFacts, max_shard_bytes: int) -> None:
    """Write the merged model as a Hugging Face folder.

    Args:
        max_shard_bytes: size limit of a weights file; only a single larger tensor may exceed it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_shards(folder, merged.sizes, merged.tensor, max_shard_bytes)
    for file in BASE_FILES:
        if (base / file).is_file():
            shutil.copyfile(base / file, folder / file)
    for template in sorted((base / MORE_TEMPLATES).glob("*.jinja")):
        (folder / MORE_TEMPLATES).mkdir(exist_ok=True)
        shutil.copyfile(template, folder / MORE_TEMPLATES / template.name)
    if facts.end_ids:
        _end_at(facts.end_ids, base, folder)
    if merged.dtype is not None or merged.untied:
        config = read_object(base / CONFIG)
        if merged.dtype is not None:
            # transformers loads in the dtype that the config names, whatever the files hold.
            config.pop("torch_dtype", None)
            config["dtype"] = merged.dtype.name
        if merged.untied:
            config["tie_word_embeddings"] = False
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(merged_card(facts, merged.lora), encoding="utf-8")


def _end_at(end_ids: Sequence[int], base: Path, folder: Path) -> None:
    """Have `generate()` stop where an answer ends: add the tokens to generation_config.json.

    Without that file transformers takes the tokens of config.json, which are kept too. The file stays as it is if it
    has the token that was trained.
    """
    path = folder / GENERATION_CONFIG
    given = read_object(path) if path.is_file() else None
    source = read_object(base / CONFIG) if given is None else given
    kept = source.get("eos_token_id")
    ends = list(kept) if isinstance(kept, list) else [] if kept is None else [kept]
    if not all(type(each) is int for each in ends):
        file = base / (CONFIG if given is None else GENERATION_CONFIG)
        raise UserError(f"{file}: eos_token_id is {kept!r}, and must be an integer, or a list of integers: correct it")
    if given is not None and end_ids[0] in ends:
        return
    if given is None:
        given = {key: source[key] for key in ("bos_token_id", "pad_token_id") if source.get(key) is not None}
    given["eos_token_id"] = list(dict.fromkeys((*ends, *end_ids)))
    path.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")


def write_gguf_card(folder: Path, facts: CardFacts, merged: Merged) -> None:
    """Write README.md next to a GGUF file."""
    (folder / "README.md").write_text(gguf_card(facts, merged.lora), encoding="utf-8")


def write_gguf_lora_card(folder: Path, facts: CardFacts, merged: Merged, file: str) -> None:
    """Write README.md next to a GGUF adapter."""
    (folder / "README.md").write_text(gguf_lora_card(facts, merged.lora, file), encoding="utf-8")
