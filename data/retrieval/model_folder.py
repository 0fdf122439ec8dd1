"""What the files of an embedder or cross-encoder may name: no code, no pickle, and no file outside of the folder.

sentence-transformers imports classes by the dotted names in a folder's JSON files, any attribute of its own package or
of torch among them, calls methods by name, and opens weights by the names in an index. So names are checked before any
file is loaded; code that comes with a model is never run (`trust_remote_code` stays off).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from user_error import UserError

_MODULES = (
    "Asym|BoW|CLIPModel|CNN|Dense|Dropout|LayerNorm|LSTM|LogitScore|Normalize|Pooling|Router|StaticEmbedding|"
    "Transformer|WeightedLayerPooling|WordEmbeddings|WordWeights"
)
_MODULE = re.compile(rf"sentence_transformers(\.[a-z_]+)*\.({_MODULES})")
_TOKENIZER = re.compile(r"sentence_transformers(\.[a-z_]+)*\.[A-Za-z]*Tokenizer")
_ACTIVATION = re.compile(r"torch\.nn(\.modules\.(activation|linear))?\.[A-Z]\w*")
_METHOD = re.compile(r"forward|get_[a-z_]+_features")
# Field -> the dotted names that may stand in it. Names without a dot are looked up in a table of the library.
_CLASSES = {
    "activation_fn": _ACTIVATION,
    "activation_function": _ACTIVATION,
    "sbert_ce_default_activation_function": _ACTIVATION,
    "tokenizer_class": _TOKENIZER,
}
_PICKLES = "pytorch_model*.bin"
_CODE = "which is no known part of such a model, and code that a model names is never run"
_OUTSIDE = "which is no name inside of the folder"


def check_folder(folder: Path, kind: str) -> None:
    """Check what the files of a model's folder name.

    Args:
        kind: what error messages call the model.

    Raises:
        UserError: names the file: it names code, or a file outside of the folder, or the weights are a pickle.
    """
    for path in sorted(folder.rglob("*.json")):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            _check_names(path, kind)
    for path in sorted(folder.rglob(_PICKLES)):
        if not any(path.parent.glob("*.safetensors")):
            raise UserError(
                f"{path} is a pickle, which may run any code when it is opened: give the {kind} with its weights as "
                "safetensors, which save_pretrained of sentence-transformers writes"
            )


def _check_names(path: Path, kind: str) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # refused where it is loaded, if it is
    if path.name == "modules.json":
        for module in content if isinstance(content, list) else ():
            if isinstance(module, dict):
                _check(path, kind, "type", module.get("type"), _MODULE.fullmatch)
                _check(path, kind, "path", module.get("path", ""), _inside, _OUTSIDE)
        return
    if not isinstance(content, dict):
        return
    if path.name.endswith(".index.json"):
        for name in _values(content.get("weight_map")):
            _check(path, kind, "weight_map", name, lambda name: Path(name).name == name, _OUTSIDE)
    elif path.name != "tokenizer.json":  # large, and read by a library that imports nothing
        for field, name in _texts(content):
            if field in _CLASSES and "." in name:
                _check(path, kind, field, name, _CLASSES[field].fullmatch)
            elif field.endswith("_implementation"):  # transformers fetches OWNER/KERNEL from the hub
                _check(path, kind, field, name, lambda name: "/" not in name)
        for name in _values(content.get("types")):
            _check(path, kind, "types", name, _MODULE.fullmatch)
        for modality in _values(content.get("modality_config")):
            if isinstance(modality, dict):
                _check(path, kind, "method", modality.get("method", "forward"), _METHOD.fullmatch)


def _check(path: Path, kind: str, field: str, name: object, allowed: Callable[[str], object], why: str = _CODE) -> None:
    if not isinstance(name, str) or not allowed(name):
        raise UserError(f"{path}: {field} is {name!r}, {why}: name another {kind}")


def _inside(name: str) -> bool:
    parts = PureWindowsPath(name)
    return not PurePosixPath(name).is_absolute() and not parts.anchor and ".." not in parts.parts


def _values(found: object) -> list[Any]:
    return list(found.values()) if isinstance(found, dict) else []


def _texts(content: object) -> Iterator[tuple[str, str]]:
    """(field, value) of each text, at any depth."""
    for field, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, str):
            yield field, value
        elif isinstance(value, dict):
            yield from _texts(value)
