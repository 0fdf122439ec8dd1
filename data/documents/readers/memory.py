"""A cache of readings by the files' content: reading a thousand PDFs takes minutes once, and seconds after that.

FOLDER/<key>.json   one for each file that was read; any of them may be deleted at any time
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from data.documents.documents import DocumentSettings
from data.documents.readers.child import Items, fields_of, items_of
from data.files.whole_files import mark_used, write_whole

# Formats that take long enough to be cached, and whose readers use libraries.
_KEPT = frozenset(
    {".pdf", ".docx", ".docm", ".dotx", ".pptx", ".pptm", ".ppsx", ".html", ".htm", ".xhtml", ".xlsx", ".xlsm", ".ods"}
    | {".odt", ".odp", ".epub", ".rtf"}
)
_LIBRARIES = ("lxml", "openpyxl", "py3langid", "pypdfium2", "python-docx", "python-pptx")

_IRRELEVANT = {"strict", "follow_links", "seconds_per_file"}  # to the content of a file


class ReadingMemory:
    """Caches readings in a folder.

    Args:
        folder: created when something is kept.
        code: a digest of the readers' code; part of the key.
    """

    def __init__(self, folder: Path, code: str) -> None:
        self._folder = folder
        self._code = json.dumps([code, {name: version(name) for name in _LIBRARIES}])

    def read(self, suffix: str, raw: bytes, settings: DocumentSettings, read: Callable[[], Items]) -> Items:
        """What `read` returns for these bytes, from the cache if possible. Exceptions are not cached."""
        if suffix not in _KEPT:
            return read()
        # Whether there is a password counts, and not which: a file that it does not open is not cached.
        locked = suffix == ".pdf" and settings.password is not None
        options = settings.model_dump(mode="json", exclude=_IRRELEVANT)
        facts = json.dumps([suffix, self._code, options, locked], sort_keys=True)
        path = self._folder / f"{hashlib.sha256(facts.encode() + raw).hexdigest()}.json"
        items = _load(path)
        if items is None:
            items = read()
            write_whole(path, json.dumps(fields_of(items)))  # ASCII, since a text may hold half a surrogate pair
        return items


def _load(path: Path) -> Items | None:
    """The items of a file; None if it is missing or damaged."""
    try:
        items = items_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    mark_used(path)
    return items
