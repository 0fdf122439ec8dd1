"""Names of tensors in adapter files: which module of the model, and which part of its adapter.

PEFT saves `base_model.model.MODULE.lora_A.weight`. Files that were saved as a state dict of the training process keep
the names of wrappers (torch.compile, FSDP, DDP, checkpointing, a vision model around the text model) and of the adapter
(`lora_A.default.weight`); both are left out here.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from user_error import UserError

PREFIX = "base_model.model."
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "language_model")
# Part -> its name below the module, where `@` stands for the adapter's name, if the file has it.
_PARTS = {
    "A": r"lora_A@\.weight",
    "B": r"lora_B@\.weight",
    "embedding_A": r"lora_embedding_A@",
    "embedding_B": r"lora_embedding_B@",
    "magnitude": r"lora_magnitude_vector@(?:\.weight)?",
    "tokens": r"token_adapter\.trainable_tokens_delta@",
    "saved": r"modules_to_save@\.weight",
    "saved_bias": r"modules_to_save@\.bias",
    "base": r"(?:token_adapter\.)?base_layer\.weight",
    "base_bias": r"base_layer\.bias",
    # The module before training began, which the trained one stands in for.
    "unused": r"original_module\.weight",
    "unused_bias": r"original_module\.bias",
    "weight": r"weight",
    "bias": r"bias",
}
_TAIL = {
    part: re.compile(rf"(?P<module>.+?)\.{pattern.replace('@', r'(?:[.](?P<name>[^.]+?))?')}")
    for part, pattern in _PARTS.items()
}


class Stored(NamedTuple):
    """A tensor in the file."""

    name: str
    shape: tuple[int, ...]


def bare(name: str) -> str:
    """Return a tensor's name without wrappers and without PEFT's prefix."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts[0] == "module":
        parts = parts[1:]
    bare_name = ".".join(parts)
    while bare_name.startswith(PREFIX):  # more than once where a PEFT model was wrapped in another
        bare_name = bare_name.removeprefix(PREFIX)
    return bare_name


def by_module(shapes: Mapping[str, tuple[int, ...]], path: Path) -> dict[str, dict[str, Stored]]:
    """Sort a file's tensors: module -> part (a key of `_PARTS`) -> the tensor.

    Raises:
        UserError: a name is of no known form, two names mean the same, or the file holds several adapters.
    """
    modules: dict[str, dict[str, Stored]] = {}
    adapters: set[str] = set()
    for name, shape in shapes.items():
        part, match = _parsed(bare(name))
        if match is None:
            raise UserError(
                f"{path} holds unknown tensors: {name}; implemented are LoRA and DoRA on linear layers, embed_tokens "
                "and lm_head, modules_to_save and trainable tokens"
            )
        if match.groupdict().get("name"):
            adapters.add(match["name"])
        parts = modules.setdefault(match["module"], {})
        if part in parts:
            raise UserError(f"{path}: {parts[part].name} and {name} are the same tensor; keep one of them")
        parts[part] = Stored(name, shape)
    if len(adapters) > 1:
        raise UserError(
            f"{path} holds several adapters: {', '.join(sorted(adapters))}; save one of them alone with PEFT "
            "(save_pretrained with selected_adapters)"
        )
    return modules


def without_unused(modules: Mapping[str, dict[str, Stored]]) -> dict[str, dict[str, Stored]]:
    """Drop the copies of modules that `modules_to_save` has replaced: they take no part in the model."""
    kept = {
        name: {part: x for part, x in parts.items() if not part.startswith("unused")} for name, parts in modules.items()
    }
    return {name: parts for name, parts in kept.items() if parts}


def _parsed(name: str) -> tuple[str, re.Match[str] | None]:
    for part, pattern in _TAIL.items():
        match = pattern.fullmatch(name)
        # A factor of another kind is no module.
        if match is not None and not (part in ("weight", "bias") and ".lora_" in match["module"]):
            return part, match
    return "", None


def shown(names: Iterable[str], count: int = 3) -> str:
    """The first names of many."""
    names = sorted(names)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
