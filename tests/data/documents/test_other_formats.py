"""EPUB, e-mail, RTF and other markups."""

import json
from email.message import EmailMessage

import pytest

from data.documents.documents import DocumentSettings, is_plain
from data.documents.readers.child import ReadingChild
from data.documents.readers.epub import read_epub
from data.documents.readers.extracted import Unreadable
from data.documents.readers.mail import read_eml
from data.documents.readers.markup import read_asciidoc, read_org, read_rst, read_tex
from data.documents.readers.open_documents import read_odt
from data.documents.readers.registry import READERS
from data.documents.readers.rtf import read_rtf
from testing.readings import one
from testing.small_files import zipped

DEFAULT = DocumentSettings()


@pytest.mark.parametrize(("reader", "reason"), [(read_odt, "no content.xml"), (read_epub, "META-INF/container.xml")])
def test_archives_of_something_else_are_refused(reader, reason):
    with pytest.raises(Unreadable, match=reason):
        list(reader(zipped({"x": b"y"}), DEFAULT))
    with pytest.raises(Unreadable, match="damaged"):
        list(reader(b"no archive", DEFAULT))
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    with pytest.raises(Unreadable, match="declares XML entities"):
        list(reader(zipped({"content.xml": bomb, "META-INF/container.xml": bomb}), DEFAULT))


# EPUB


def book(**changes) -> bytes:
    xhtml = (
        '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head>'
        "<body>{}</body></html>"
    )
    files = {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></container>',
        "O/c.opf": (
            '<package xmlns:dc="x"><metadata><dc:title>The Mill</dc:title></metadata><manifest>'
            '<item id="b" href="two%20b.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="n" href="nav.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="i" href="i.png" media-type="image/png"/></manifest>'
            '<spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/><itemref idref="i"/></spine></package>'
        ),
        "O/a.xhtml": xhtml.format("<h1>One</h1><p>It&nbsp;turns.<script src='x'/></p>"),
        "O/two b.xhtml": xhtml.format("<h1>Two</h1><p>It <i>rests</i>.</p>"),
        "O/nav.xhtml": xhtml.format('<nav><a href="a.xhtml">One</a></nav>'),
        **changes,
    }
    return zipped({name: content for name, content in files.items() if content is not None})


def test_epub_is_its_chapters_in_order():
    item = one(read_epub(book(), DEFAULT))
    assert (item.text, item.title) == ("# One\n\nIt turns.\n\n# Two\n\nIt rests.", "The Mill")
    assert item.left_out == {"tables of contents": 3}
    missing = one(read_epub(book(**{"O/a.xhtml": None}), DEFAULT))
    assert missing.text == "# Two\n\nIt rests." and missing.remarks == ("1 chapters are named and missing",)
    locked = '<encryption><CipherReference URI="O/a.xhtml"/></encryption>'
    with pytest.raises(Unreadable, match="DRM"):
        list(read_epub(book(**{"META-INF/encryption.xml": locked}), DEFAULT))


# E-mail


def message(**headers) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "Nora Vik <nora@example.org>", "mill@example.org"
    made["Subject"] = headers.get("subject", "Schlüssel")
    made.set_content("The key is at Bo’s.\n")
    return made


def test_eml_is_its_headers_and_body():
    made = message()
    made.add_alternative("<p>The key is at <b>Bo’s</b>.</p>", subtype="html")
    made.add_attachment(b"12345", maintype="application", subtype="pdf", filename="prices.pdf")
    inner = message(subject="Older")
    made.add_attachment(inner)
    item = one(read_eml(bytes(made), DEFAULT))
    head = "From: Nora Vik <nora@example.org>\nTo: mill@example.org\nSubject: {}\n\nThe key is at Bo’s."
    assert item.text == f"{head.format('Schlüssel')}\n\n{head.format('Older')}"
    assert (item.title, item.left_out) == ("Schlüssel", {})  # bytes are no characters
    assert item.remarks == ("attachments are not read, save them as files: prices.pdf",)


def test_eml_of_html_only_or_in_an_old_encoding():
    made = EmailMessage()
    made["Subject"] = "x"
    made.set_content("<h1>A</h1><p>“Rye” – 3 €</p>", subtype="html", charset="utf-8")
    assert one(read_eml(bytes(made), DEFAULT)).text == "Subject: x\n\n# A\n\n“Rye” – 3 €"
    raw = b"Subject: y\nContent-Type: text/plain; charset=iso-8859-1\n"
    raw += b"Content-Transfer-Encoding: 8bit\n\n\x93Rye\x94 4 \x80"
    assert one(read_eml(raw, DEFAULT)).text == "Subject: y\n\n“Rye” 4 €"
    stub = message()
    stub.add_alternative("<p>" + "The real text is here. " * 20 + "</p>", subtype="html")
    assert "real text" in one(read_eml(bytes(stub), DEFAULT)).text
    with pytest.raises(Unreadable, match="not an e-mail"):
        list(read_eml(b"just text", DEFAULT))


def test_eml_within_eml_without_end_is_refused():
    made = message()
    for _ in range(25):
        outer = message()
        outer.add_attachment(made)
        made = outer
    with pytest.raises(Unreadable, match="messages within one another"):
        list(read_eml(bytes(made), DEFAULT))


# Texts


def test_rtf_is_its_text():
    raw = rb"{\rtf1\ansi\ansicpg1252 {\b The mill} costs \'80 4.\par It\'92s caf\u233? old.}"
    assert one(read_rtf(raw, DEFAULT)).text == "The mill costs € 4.\n\nIt’s café old."
    with pytest.raises(Unreadable, match="not RTF"):
        list(read_rtf(b"text", DEFAULT))


def test_rtf_in_other_scripts_with_notes_lists_tables_and_hidden_text():
    raw = (
        rb"{\rtf1\ansi\ansicpg1250\uc1{\fonttbl{\f0\fcharset238 Arial;}{\f1\fcharset128 Gothic;}}{\info{\title T}}"
        rb"{\header\pard running head\par}\pard\outlinelevel0 Prices\par\pard \f0\'b3\'f3d\'9f \f1\'90\'85\'8e\'d4\f0"
        rb" \u-10179?\u-8694?{\footnote Since 1931.}{\v code}{\deleted old} \{10{\super 6}\}\par"
        rb"{\field{\*\fldinst HYPERLINK x}{\fldrslt link}}\line two{\*\unknown gone}\par"
        rb"{\listtext\'b7\tab}one\par{\listtext 1.\tab}two\par"
        rb"\trowd\pard\intbl Rye\cell 3\par 4\cell\row\pard End {\pict 00ff}."
        rb"{\shp{\*\shpinst{\sp{\sn x}{\sv y}}{\shptxt boxed}}}}"
    )
    item = one(read_rtf(raw, DEFAULT))
    assert item.text == (
        "# Prices\n\nłódź 水車😊[^1] {10⁶}\n\n[^1]: Since 1931.\n\nlink\ntwo\n\n· one\n1. two\n\n"
        "| Rye | 3 4 |\n| --- | --- |\n\nEnd .boxed"
    ).replace("· one", "- one")
    assert item.left_out == {"page headers and footers": 13, "hidden text": 4, "deleted text": 3} and not item.remarks


@pytest.mark.parametrize(
    ("reader", "text", "read", "left_out"),
    [
        (read_asciidoc, "= Mill\n\n// draft\nText // not\n\n== Fee\n----\n# x\n// y\n----\n\n////\nold\n////\nEnd",
         "# Mill\n\nText // not\n\n## Fee\n```\n# x\n// y\n```\n\nEnd", 8),
        (read_org, "* Mill\n# draft\nText\n#+begin_src sh\n# x\n#+end_src\n** Fee\n"
         "#+BEGIN_COMMENT\nold\n#+END_COMMENT\n- a",
         "# Mill\nText\n```\n# x\n```\n## Fee\n- a", 8),
        (read_rst, "====\nMill\n====\n\n.. a draft\n   goes on\n\nText\n\nFee\n---\n\n"
         ".. note:: kept\n\n.. _mark:\n\nSo::\n\n   # x\n\nEnd",
         "# Mill\n\n\nText\n\n## Fee\n\n.. note:: kept\n\n.. _mark:\n\nSo::\n\n```\n   # x\n```\n\nEnd", 15),
        (read_tex, "% draft\n\\section{Fee}\n38\\% more % why\n"
         "\\begin{verbatim}\n% x\n\\end{verbatim}\n\\begin{comment}\nold\n\\end{comment}\nEnd",
         "## Fee\n38\\% more\n\\begin{verbatim}\n```\n% x\n```\n\\end{verbatim}\nEnd", 11),
    ],
)  # fmt: skip
def test_other_markups_have_headings_listings_and_no_comments(reader, text, read, left_out):
    item = one(reader(text.encode(), DEFAULT))
    assert item.text == read
    assert item.left_out == {"comments": left_out}


def test_text_after_the_end_of_tex_and_commands_of_terminals_are_left_out():
    item = one(read_tex(b"A\n\\end{document}\nnot set\n", DEFAULT))
    assert (item.text, item.left_out) == ("A\n\\end{document}", {"text after the end": 7})
    (log,) = READERS[".log"](b"\x1b[1;31mfail\x1b[0m \x1b]0;title\x07end", DEFAULT)
    assert log.text == "fail end" and log.left_out == {"terminal commands": 21}


def test_a_child_gives_back_what_a_reader_gives():
    files = {
        ".ipynb": json.dumps({"cells": [{"cell_type": "markdown", "source": "A.<!-- b -->"}]}).encode(),
        ".epub": book(),
        ".eml": bytes(message()),
        ".html": b"<p>A.</p><!-- b -->",
    }
    with ReadingChild() as child:
        for suffix, raw in files.items():
            assert child.read(suffix, raw, DEFAULT, list) == list(READERS[suffix](raw, DEFAULT)), suffix


def test_every_suffix_has_a_reader_and_plain_text_is_plain():
    for suffix in ("ipynb", "rst", "adoc", "org", "tex", "mdx", "log", "json", "xlsx", "epub", "eml", "odt", "rtf"):
        assert f".{suffix}" in READERS
    assert is_plain("a.LOG") and not is_plain("a.rst")
