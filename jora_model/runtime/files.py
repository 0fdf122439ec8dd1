"""Files that a kill leaves either old or new, never cut off."""

from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) beside `path` and rename it over `path`."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
