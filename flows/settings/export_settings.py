"""The settings of `jora export --to`, as the command line has them."""

from collections.abc import Iterable
from typing import Any

from flows.settings.config import load_config
from user_error import UserError


def read_changes(sets: Iterable[str]) -> dict[str, Any]:
    """`export.key=value` pairs as settings of the group `export`: those that are named, and no others.

    Raises:
        UserError: one is of another group, unknown or not allowed.
    """
    names = [item.partition("=")[0].strip() for item in sets]
    for name in names:
        if not name.startswith("export."):
            raise UserError(
                f"--set {name}: with --to, which exports a model that is there already, only export.* counts"
            )
    export = load_config(None, {}, sets).export
    return {key: getattr(export, key) for key in (name.removeprefix("export.") for name in names)}
