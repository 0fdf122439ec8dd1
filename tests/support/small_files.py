"""Small files of every kind that is read, made by real libraries."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject


def pdf(pages: Sequence[Sequence[str]], password: str | None = None) -> bytes:
    """A PDF whose pages have these lines; no lines, no text."""
    writer = PdfWriter()
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica", "/Encoding": "/WinAnsiEncoding"}
    named = DictionaryObject({NameObject(key): NameObject(value) for key, value in font.items()})
    for lines in pages:
        page = writer.add_blank_page(612, 792)
        escaped = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines]
        shown = " T* ".join(f"({line}) Tj" for line in escaped)
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 11 Tf 14 TL 40 760 Td {shown} ET".encode("cp1252"))
        page[NameObject("/Contents")] = writer._add_object(content)
        fonts = DictionaryObject({NameObject("/F1"): named})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    if password is not None:
        writer.encrypt(password, algorithm="AES-256")
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def mixed_documents(folder: Path) -> None:
    """A folder with rows, slides with notes, a text in an old encoding, and a link out of it."""
    import pptx

    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("text,body\nOne text.,Another body.\n")
    (folder / "old.txt").write_bytes(("Der Müller mahlt für die Genossenschaft, außer im März. " * 9).encode("cp1252"))
    (folder / "linked.md").symlink_to(min((folder.parent / "documents").iterdir()))
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "The mill"
    slide.notes_slide.notes_text_frame.text = "Speak slowly."
    presentation.save(str(folder / "slides.pptx"))


def rezipped(archive: bytes, changes: Mapping[str, bytes]) -> bytes:
    """The archive with some entries changed or added."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, changes.get(entry.filename) or source.read(entry))
        for name in changes.keys() - set(source.namelist()):
            target.writestr(name, changes[name])
    return written.getvalue()
