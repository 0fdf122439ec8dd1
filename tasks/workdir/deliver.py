"""Delivers an export to a folder: copies it, verifies digests, and renames it into place."""

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.store.artifacts import Artifact
from tasks.store.digests import file_digest
from tasks.store.store import MANIFEST, Store
from user_error import UserError

# Marks a folder as an export and lists its files.
MARK = "jora-export.json"


def check_target(folder: Path) -> None:
    """Check that an export can be written to the folder.

    Raises:
        UserError: the path is a file, or a folder with other content than an earlier export.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file; give a folder: --to DIR")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        ours = {MARK, *json.loads((folder / MARK).read_bytes())["files"]}
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise UserError(f"{folder} is neither empty nor an earlier export; give another folder: --to DIR") from None
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if others := sorted(present - ours):
        raise UserError(
            f"{folder} is an earlier export with an extra file, {others[0]}; move it, or give another folder: --to DIR"
        )


def deliver(store: Store, export: Artifact, folder: Path, about: Mapping[str, Any]) -> None:
    """Copy an export to the folder, replacing an earlier one, which stays intact if the process is killed.

    Args:
        about: written to jora-export.json, with the digest of every file.

    Raises:
        UserError: as `check_target`; the folder is not writable, or a copy differs from its source.
    """
    folder = folder.expanduser().resolve()
    check_target(folder)
    manifest = store.manifest(export)
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(store.path(export), fresh, copy_function=shutil.copyfile, ignore=_not_the_manifest)
        for name, record in manifest.files.items():
            if file_digest(fresh / name, None) != record.sha256:
                raise UserError(f"{fresh / name} differs from its source after copying; check the disk")
        digests = {name: record.sha256 for name, record in manifest.files.items()}
        checked = {name: value for name, value in manifest.settings.items() if name != "export"}
        content = {**about, "checked": checked, "files": digests}
        (fresh / MARK).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        before = fresh.with_name(f"{fresh.name}.before")
        if folder.exists():
            folder.rename(before)
        fresh.rename(folder)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}; give another folder: --to DIR") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _not_the_manifest(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == MANIFEST]
