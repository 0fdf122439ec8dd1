"""Cache keys: everything that a stage's result depends on, in a form that is the same in all processes and machines.

A key is the sha256 of the stage's name, its version, a digest of the code that it uses, the versions of the libraries
that this code imports (tasks/engine/code.py) and its canonical inputs. Paths, times and the order of dicts are
ignored. A value without a canonical form raises TypeError: a wrong key would later return a wrong result.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Set
from enum import Enum
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from tasks.store.artifacts import Artifact


def canonical(value: object, where: str = "input") -> Any:
    """`value` as canonical JSON; `where` names it in errors.

    Artifacts are represented by kind and digest, settings by their fields without those in the class's NO_INPUT (the
    name of the class does not matter); sets are sorted; lists and tuples are equal.

    Raises:
        TypeError: for anything else (paths, arrays, NaN, generators, other objects).
    """
    if isinstance(value, Enum):
        return canonical(value.value, where)
    if value is None or isinstance(value, bool | str):
        return value
    if type(value) is int:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise TypeError(f"{where} is {value}, which equals nothing and so cannot be part of a cache key")
        return value
    if isinstance(value, Artifact):
        return {"artifact": [value.kind, value.digest]}
    if isinstance(value, BaseModel):
        if value.model_extra:
            raise TypeError(f"{where} has fields that its class does not declare: {sorted(value.model_extra)}")
        names = sorted(type(value).model_fields.keys() - getattr(value, "NO_INPUT", frozenset()))
        return {"settings": {name: canonical(getattr(value, name), f"{where}.{name}") for name in names}}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"{where} is a dict with keys that are no strings")
        return {"mapping": {name: canonical(value[name], f"{where}[{name!r}]") for name in sorted(value)}}
    if isinstance(value, list | tuple):
        return {"sequence": [canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]}
    if isinstance(value, Set):
        return {"set": sorted((canonical(item, where) for item in value), key=_json)}
    raise TypeError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which has no canonical form; "
        "pass an Artifact, a settings model, text, numbers, or a tuple, set or dict of these"
    )


def stage_key(
    name: str,
    version: int,
    code: str | None,
    inputs: Mapping[str, object],
    libraries: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The cache key of a stage with inputs: its name and 64 hex digits; valid as a file name.

    Args:
        name: the stage.
        version: the number in its decorator.
        code: a code digest, or None if `version` alone represents the code.
        inputs: argument name -> value.
        libraries: import name -> version.
    """
    canonical_inputs = {key: canonical(inputs[key], f"{name}: {key}") for key in sorted(inputs)}
    text = _json(
        {
            "stage": name,
            "version": version,
            "code": code,
            "libraries": dict(libraries),
            "inputs": canonical_inputs,
        }
    )
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()}"


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
