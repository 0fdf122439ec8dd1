"""What reading recovers of the true text of a collection of files, and what it invents.

    .venv/bin/python -m bench.read_documents [--show 20] [--only .pdf]

The collection (testing/true_collection.py) holds files of every format that is read, in many languages, each with the
text that a person reads in it, written down by its builder and by no reader. The files are read as a corpus is, with
default settings. Recovered: characters of the true text that stand in the reading, block by block, in their order.
Invented: characters of the reading that stand nowhere in the true text. The marks of Markdown's structure are not
invented, nor what a reader puts between a term and its definition; testing/read_scores.py has the rules. Menus, page
numbers and the like may be read or left out.

Peers read the same files alone, as one calls them from Python: trafilatura (as it is, and asked for recall), lxml's
text, pypdf, pypdfium2, python-docx's paragraphs and tables, python-pptx's shapes, striprtf, charset-normalizer.
"""

import argparse
import io
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.machine import describe_machine
from data.documents.readers.registry import READERS
from testing.read_scores import NOTHING, ReadScore
from testing.true_collection import all_files, our_texts, score_files
from testing.true_files import TrueFile

_SHOWN_CHARACTERS = 100


def _trafilatura(raw: bytes, **options: Any) -> str:
    import trafilatura

    return trafilatura.extract(raw, output_format="markdown", include_comments=True, **options) or ""


def _lxml(raw: bytes) -> str:
    from lxml.html import document_fromstring

    return "\n".join(document_fromstring(raw).itertext())


def _pypdf(raw: bytes) -> str:
    import pypdf

    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(raw)).pages)


def _pdfium(raw: bytes) -> str:
    import pypdfium2

    document = pypdfium2.PdfDocument(raw)
    document.init_forms()
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def _docx(raw: bytes) -> str:
    import docx

    texts = []
    for block in docx.Document(io.BytesIO(raw)).iter_inner_content():
        rows = [[cell.text for cell in row.cells] for row in block.rows] if hasattr(block, "rows") else [[block.text]]
        texts += [" | ".join(row) for row in rows]
    return "\n".join(texts)


def _pptx(raw: bytes) -> str:
    import pptx

    texts = []
    for slide in pptx.Presentation(io.BytesIO(raw)).slides:
        for shape in slide.shapes:
            if shape.has_text_frame:
                texts.append(shape.text_frame.text)
            elif shape.has_table:
                texts += [" | ".join(cell.text for cell in row.cells) for row in shape.table.rows]
        if slide.has_notes_slide:
            texts.append(slide.notes_slide.notes_text_frame.text)
    return "\n".join(texts)


def _rtf(raw: bytes) -> str:
    from striprtf.striprtf import rtf_to_text

    return str(rtf_to_text(raw.decode("ascii", "replace")))


def _detected(raw: bytes) -> str:
    from charset_normalizer import from_bytes

    return str(from_bytes(raw).best() or "")


_HTML = (".html", ".htm", ".xhtml")
# (name of the package, what is called, formats, reader)
_PEERS: tuple[tuple[str, str, tuple[str, ...], Callable[[bytes], str]], ...] = (
    ("trafilatura", "", _HTML, _trafilatura),
    ("trafilatura", ", recall", _HTML, lambda raw: _trafilatura(raw, favor_recall=True)),
    ("lxml", ", all text", _HTML, _lxml),
    ("pypdf", "", (".pdf",), _pypdf),
    ("pypdfium2", "", (".pdf",), _pdfium),
    ("python-docx", "", (".docx",), _docx),
    ("python-pptx", "", (".pptx",), _pptx),
    ("striprtf", "", (".rtf",), _rtf),
    ("charset-normalizer", "", (".txt",), _detected),
)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=20, help="files with the greatest faults to print")
    parser.add_argument("--only", help="a suffix, such as .pdf")
    given = parser.parse_args()
    every = [file for file in all_files() if given.only in (None, file.suffix)]
    files = [file for file in every if file.suffix in READERS]
    print(describe_machine("trafilatura", "pypdf", "python-docx", "python-pptx", "charset-normalizer"))
    texts, reasons = our_texts(files)
    scores = score_files(files, texts)
    print(f"{len(files)} files, {sum(score.true for score in scores.values()):,} characters of true text")
    unread = sorted({file.suffix for file in every} - set(READERS))
    if unread:
        print(f"not read, and not counted: {', '.join(unread)}")
    print(f"{'format':<34}{'files':>6}{'recovered':>11}{'invented':>10}")
    for suffix in dict.fromkeys(file.suffix for file in files):
        _print(suffix, [scores[file.name] for file in files if file.suffix == suffix])
    for package, how, suffixes, reader in _PEERS:
        of_peer = [file for file in files if file.suffix in suffixes]
        if of_peer and (name := _installed(package)):
            _print(
                f"  {name}{how} ({', '.join(suffixes)})", list(score_files(of_peer, _read_by(reader, of_peer)).values())
            )
    _print_faults(files, scores, reasons, given.show)
    total = sum(scores.values(), NOTHING)
    print(f"figure read_recovered_percent {total.recovered_percent:.3f}")
    print(f"figure read_invented_percent {total.invented_percent:.3f}")


def _print(name: str, scores: list[ReadScore]) -> None:
    total = sum(scores, NOTHING)
    print(f"{name:<34}{len(scores):>6}{total.recovered_percent:>10.2f}%{total.invented_percent:>9.2f}%")


def _print_faults(files: list[TrueFile], scores: dict[str, ReadScore], reasons: dict[str, str], count: int) -> None:
    """The files with the most characters lost and invented, with the passages."""
    faults = {file: (s := scores[file.name]).true - s.recovered + s.invented for file in files}
    for file in sorted((file for file in files if faults[file]), key=lambda file: -faults[file])[:count]:
        score = scores[file.name]
        print(f"{file.name}: {score.true - score.recovered} lost, {score.invented} invented ({file.hard or 'plain'})")
        if file.name in reasons:
            print(f"    listed: {reasons[file.name][:_SHOWN_CHARACTERS]}")
        for what, passages in (("lost", score.lost_texts), ("invented", score.invented_texts)):
            for passage in passages[:6]:
                print(f"    {what}: {passage[:_SHOWN_CHARACTERS]!r}")


def _installed(package: str) -> str:
    """The name and version of a package; empty if it is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


def _read_by(reader: Callable[[bytes], str], files: Iterable[TrueFile]) -> dict[str, str]:
    texts = {}
    for file in files:
        try:
            texts[file.name] = reader(file.content)
        except Exception as error:  # of a library: the file is lost
            print(f"    {file.name}: {type(error).__name__}")
    return texts


if __name__ == "__main__":
    main()
