"""Small files of every kind that is read, made by real libraries."""

import io
import zipfile
from collections.abc import Mapping, Sequence

from testing.small_pdf import below, drawn_pdf


def pdf(pages: Sequence[Sequence[str]], password: str | None = None) -> bytes:
    """A PDF whose pages have these lines; no lines, no text."""
    return drawn_pdf([below(lines, 40, 760, size=11) for lines in pages], password=password)


def rezipped(archive: bytes, changes: Mapping[str, bytes]) -> bytes:
    """The archive with some entries changed or added."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, changes.get(entry.filename) or source.read(entry))
        for name in changes.keys() - set(source.namelist()):
            target.writestr(name, changes[name])
    return written.getvalue()


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """An archive of files."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return written.getvalue()
