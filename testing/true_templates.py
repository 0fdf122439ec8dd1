"""Templates, slide shows and files with macros: the formats of DOCX and PPTX files by other names and types."""

import io
import zipfile
from collections.abc import Iterator

from testing.small_files import rezipped
from testing.true_files import TrueFile
from testing.true_texts import Paragraphs

_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.{}.main+xml"
_SLIDES = "application/vnd.openxmlformats-officedocument.presentationml.{}.main+xml"


def template_files(_: Paragraphs) -> Iterator[TrueFile]:
    """A file of each kind."""
    import docx
    import pptx

    texts = ("Lending rules", "A ladder is lent for three days, against a deposit of 15 euros.")
    document = docx.Document()
    document.add_heading(texts[0], 1)
    document.add_paragraph(texts[1])
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = texts
    for saved, kind, name, other in (
        (document, _WORD.format("document"), "lending.docm", "application/vnd.ms-word.document.macroEnabled.main+xml"),
        (document, _WORD.format("document"), "lending.dotx", _WORD.format("template")),
        (
            deck,
            _SLIDES.format("presentation"),
            "lending.pptm",
            "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
        ),
        (deck, _SLIDES.format("presentation"), "lending.ppsx", _SLIDES.format("slideshow")),
    ):
        file = io.BytesIO()
        saved.save(file)
        with zipfile.ZipFile(file) as archive:
            types = archive.read("[Content_Types].xml")
        changed = types.replace(kind.encode(), other.encode())
        assert changed != types
        yield TrueFile(name, rezipped(file.getvalue(), {"[Content_Types].xml": changed}), texts, hard="another type")
