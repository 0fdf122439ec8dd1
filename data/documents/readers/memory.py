"""What readers gave, kept by the files' content: a snapshot of a thousand PDFs takes minutes once, and seconds then.

FOLDER/<key>.json   one file for each file that was read; any of them may be deleted at any time
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from data.documents.documents import DocumentSettings
from data.documents.readers.child import Items, fields_of, items_of
from data.files.whole_files import write_whole

# Formats that take long enough to be worth a file, and whose readers lean on libraries.
_KEPT = (".pdf", ".docx", ".pptx", ".html", ".htm", ".xhtml")
_LIBRARIES = ("charset-normalizer", "lxml", "pypdf", "python-docx", "python-pptx", "trafilatura")

_NO_MATTER = {"strict", "follow_links", "seconds_per_file"}  # to what is in a file


class ReadingMemory:
    """Remembers readings in a folder.

    Args:
        folder: made when something is kept.
        code: a digest of the readers' code; another one remembers nothing of what this one does.
    """

    def __init__(self, folder: Path, code: str) -> None:
        self._folder = folder
        self._code = json.dumps([code, {name: version(name) for name in _LIBRARIES}])

    def read(self, suffix: str, raw: bytes, settings: DocumentSettings, read: Callable[[], Items]) -> Items:
        """What `read` gives for these bytes, or gave before. What it raises is not remembered."""
        if suffix not in _KEPT:
            return read()
        facts = json.dumps([suffix, self._code, settings.model_dump(mode="json", exclude=_NO_MATTER)], sort_keys=True)
        path = self._folder / f"{hashlib.sha256(facts.encode() + raw).hexdigest()}.json"
        items = _load(path)
        if items is None:
            items = read()
            write_whole(
                path, json.dumps(fields_of(items)).encode("ascii")
            )  # ASCII: a text may hold half a surrogate pair
        return items


def _load(path: Path) -> Items | None:
    """The items of a file; None where there is none, or not a whole one."""
    try:
        return items_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
