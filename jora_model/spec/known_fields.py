"""Which fields transformers' config classes read: from their source, which is not imported (it would import torch)."""

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Any


@functools.cache
def fields_of(model_type: str) -> dict[str, Any]:
    """Return the fields of a config class -> default value; `...` where the source has no literal.

    Fields are the annotated attributes of the classes in its file, and what they take from `kwargs` by name. Empty if
    transformers is not installed, or has no such class.
    """
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        return {}
    folder = model_type.removesuffix("_text")
    path = Path(spec.origin).parent / "models" / folder / f"configuration_{folder}.py"
    if not path.is_file():
        return {}
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = _literal(node.value)
        elif _takes_from_kwargs(node):
            assert isinstance(node, ast.Call)
            found[node.args[0].value] = _literal(node.args[1]) if len(node.args) > 1 else ...  # type: ignore[attr-defined]
    return found


def _takes_from_kwargs(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "pop")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "kwargs"
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
    )


def _literal(node: ast.expr | None) -> Any:
    try:
        return ... if node is None else ast.literal_eval(node)
    except ValueError:
        return ...
