"""A folder of documents on which every setting of reading shows."""

from pathlib import Path

import pptx

from testing.small_files import pdf


def mixed_documents(folder: Path) -> None:
    """A folder with rows, slides with notes, a text in an old encoding, an encrypted PDF, and a link out of it."""
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("text,body\nOne text.,Another body.\n")
    (folder / "old.txt").write_bytes(("Der Müller mahlt für die Genossenschaft, außer im März. " * 9).encode("cp1252"))
    (folder / "locked.pdf").write_bytes(pdf([["The key hangs behind the door."]], password="sesame"))
    (folder / "linked.md").symlink_to(min((folder.parent / "documents").iterdir()))
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "The mill"
    slide.notes_slide.notes_text_frame.text = "Speak slowly."
    presentation.save(str(folder / "slides.pptx"))
