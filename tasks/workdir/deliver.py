"""An export as a folder of a person's choosing: copied, compared by digest, and put in place by one rename."""

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

# Says that a folder is an export, and what of it is ours.
MARK = "jora-export.json"


def check_target(folder: Path) -> None:
    """Look whether an export may go there.

    Raises:
        UserError: there is a file of that name, or a folder that holds anything but an earlier export.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file; name a folder: --to DIR")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        ours = {MARK, *json.loads((folder / MARK).read_bytes())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} is not empty and no earlier export; name another folder: --to DIR") from None
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if others := sorted(found - ours):
        raise UserError(
            f"{folder} is an earlier export, and holds {others[0]}, which is not of it; move it, or name another"
        )


def deliver(store: Store, export: Artifact, folder: Path, about: Mapping[str, Any]) -> None:
    """Copy an export there, in place of an earlier one; a kill leaves the earlier one as it was.

    Args:
        about: written to jora-export.json, beside the digest of every file.

    Raises:
        UserError: as `check_target`; it cannot be written to, or a copy is not what was copied.
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
                raise UserError(f"{fresh / name} is not what was copied there; is the disk at fault?")
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
        raise UserError(f"cannot write to {folder}: {error.strerror or error}; name another folder: --to DIR") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _not_the_manifest(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == MANIFEST]
