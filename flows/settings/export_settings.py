"""The settings of `jora export --to`."""

from collections.abc import Iterable
from typing import Any

from flows.settings.config import load_config
from user_error import UserError


def read_changes(sets: Iterable[str]) -> dict[str, Any]:
    """The checked values of `export.key=value` pairs, by key: the given ones, without defaults.

    Raises:
        UserError: a pair is of another group, unknown or not allowed.
    """
    names = [item.partition("=")[0].strip() for item in sets]
    for name in names:
        if not name.startswith("export."):
            raise UserError(f"--set {name}: --to exports an existing model, so only settings of export.* apply")
    export = load_config(None, {}, sets).export
    return {key: getattr(export, key) for key in (name.removeprefix("export.") for name in names)}
