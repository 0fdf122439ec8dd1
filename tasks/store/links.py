"""Links that are replaced by one rename, so that a reader sees the old target or the new one."""

import os
import secrets
from pathlib import Path


def point(link: Path, target: Path) -> None:
    """Make or replace a link. It is relative, so that a work directory can be moved."""
    fresh = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)
