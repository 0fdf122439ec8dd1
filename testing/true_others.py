"""EPUB, mail, OpenDocument and RTF with their true text."""

# ruff: noqa: E501  the lines of the files that it writes

import io
import zipfile
from collections.abc import Iterator, Mapping
from email.message import EmailMessage

from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

# Prefixes of OpenDocument that are the names of their rooms.
_ROOMS = ("office", "text", "table", "style", "presentation")


def other_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """Files of other formats."""
    yield _epub(paragraphs)
    yield from _mails(paragraphs)
    yield _odt(paragraphs)
    yield from _rtf(paragraphs)


def _epub(paragraphs: Paragraphs) -> TrueFile:
    a, b, c = paragraphs.take(3)
    chapter = (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>{0}</title></head>'
        "<body><h1>{0}</h1>{1}</body></html>"
    )
    package = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="i">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="i">x</dc:identifier>
<dc:title>The mill</dc:title><dc:language>en</dc:language></metadata><manifest>
<item id="z" href="text/b%20two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/a.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/></manifest>
<spine><itemref idref="z"/><itemref idref="a"/></spine></package>"""
    nav = '<nav xmlns:epub="http://www.idpf.org/2007/ops" epub:type="toc"><ol><li><a href="text/a.xhtml">End</a></li></ol></nav>'
    content = _zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<?xml version="1.0"?><container version="1.0" '
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OPS/package.opf" '
            'media-type="application/oebps-package+xml"/></rootfiles></container>',
            "OPS/package.opf": package,
            "OPS/nav.xhtml": chapter.format("Contents", nav),
            "OPS/text/b two.xhtml": chapter.format(
                "Beginning", f"<p>{a}</p><ul><li>{b}</li><li>a short item</li></ul>"
            ),
            "OPS/text/a.xhtml": chapter.format("End", f"<p>{c}</p><p>Fin.</p>"),
        }
    )
    return TrueFile(
        "mill.epub",
        content,
        ("Beginning", a, b, "a short item", "End", c, "Fin."),
        ("The mill", "Contents", "End", "Beginning"),
        "chapters in the order of the spine, a name with a space",
    )


def _mails(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b = paragraphs.take(2)
    head = ("Ines Okafor <ines@example.org>", "crew@example.org", "Mon, 09 Mar 2026 10:00:00 +0000")
    optional = (*head, "From:", "To:", "Date:", "Subject:", "ines@example.org", "Ines Okafor", "plan.pdf", "2026-03-09")
    mail = _mail(head, "Loader arrives – März")
    mail.set_content(f"{a}\n\n{FOREIGN['german'][0]}\n", charset="utf-8", cte="quoted-printable")
    mail.add_alternative(f"<html><body><p>{a}</p><p>{FOREIGN['german'][0]}</p></body></html>", subtype="html")
    mail.add_attachment(b"%PDF-1.7 nothing", maintype="application", subtype="pdf", filename="plan.pdf")
    yield TrueFile(
        "both.eml",
        bytes(mail),
        ("Loader arrives – März", a, FOREIGN["german"][0]),
        optional,
        "text and HTML of the same words, an attachment, an encoded subject",
    )
    mail = _mail(head, "Hours")
    mail.set_content(
        f"<html><body><h2>Hours</h2><p>{b}</p><ul><li>Monday: closed</li></ul></body></html>", subtype="html"
    )
    yield TrueFile("html.eml", bytes(mail), ("Hours", b, "Monday: closed"), (*optional, "Hours"), "HTML only")
    mail = _mail(head, "Tides")
    texts = paragraphs.take(2)
    mail.set_content(f"{texts[0]}\n", cte="base64")
    mail.add_attachment(texts[1], filename="tides.txt")
    yield TrueFile(
        "attached.eml", bytes(mail), ("Tides", texts[0]), (*optional, texts[1], "tides.txt"), "base64, a text attached"
    )
    curly = FOREIGN["english_curly"][1]
    raw = "From: a@example.org\r\nSubject: Motto\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n"
    yield TrueFile(
        "curly.eml", (raw + curly).encode("cp1252"), ("Motto", curly), (*optional, "a@example.org"), "cp1252 as latin-1"
    )
    raw = (
        "From: a@example.org\r\nSubject: =?iso-8859-1?Q?Caf=E9?=\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    french = FOREIGN["french"][0].replace("’", "'")
    yield TrueFile(
        "latin.eml", (raw + french).encode("latin-1"), ("Café", french), (*optional, "a@example.org"), "latin-1, 8 bit"
    )


def _mail(head: tuple[str, str, str], subject: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Date"] = head
    mail["Subject"] = subject
    return mail


def _odt(paragraphs: Paragraphs) -> TrueFile:
    a, b, c, note = paragraphs.take(4)
    body = f"""<text:tracked-changes><text:changed-region text:id="c"><text:deletion><text:p>Deleted: code 7741.</text:p>
</text:deletion></text:changed-region></text:tracked-changes>
<text:h text:outline-level="1">Water plant</text:h><text:p>{a}</text:p>
<text:list><text:list-item><text:p>first point</text:p></text:list-item><text:list-item><text:p>{b}</text:p>
<text:list><text:list-item><text:p>deeper point</text:p></text:list-item></text:list></text:list-item></text:list>
<text:p>A<text:s text:c="2"/>gap,<text:tab/>a tab,<text:line-break/>a line.</text:p>
<text:p>Noted<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body><text:p>{note}
</text:p></text:note-body></text:note> here<office:annotation><text:p>an editor's remark</text:p></office:annotation>.</text:p>
<table:table><table:table-row><table:table-cell><text:p>Berth</text:p></table:table-cell><table:table-cell><text:p>Price
</text:p></table:table-cell></table:table-row><table:table-row><table:table-cell><text:p>A1</text:p></table:table-cell>
<table:table-cell><text:p>310</text:p></table:table-cell></table:table-row></table:table>
<text:p>{c}</text:p><text:section text:display="none"><text:p>hidden: code 7742</text:p></text:section>
<text:p><text:span>in a </text:span><text:a href="x">link</text:a></text:p>"""
    raw = opendocument("text", f"<office:text>{body}</office:text>")
    return TrueFile(
        "plant.odt",
        raw,
        (
            "Water plant",
            a,
            "first point",
            b,
            "deeper point",
            "A gap, a tab,",
            "a line.",
            "Noted",
            "here",
            ".",
            note,
            "Berth Price",
            "A1 310",
            c,
            "in a link",
        ),
        ("1", "an editor's remark", "[^1]:", "[^1]", "^1"),
        "lists in lists, a note in a sentence, deleted text",
    )


def opendocument(kind: str, body: str) -> bytes:
    """A file of OpenDocument: a text, a spreadsheet or a presentation."""
    names = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in {"draw": "drawing", **{name: name for name in _ROOMS}}.items()
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {names} office:version="1.3"><office:body>'
    )
    content += f"{body}</office:body></office:document-content>"
    mime = f"application/vnd.oasis.opendocument.{kind}"
    listed = (
        '<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{mime}"/></manifest:manifest>'
    )
    return _zipped({"mimetype": mime, "content.xml": content.replace("\n", ""), "META-INF/manifest.xml": listed})


def _rtf(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b, note = paragraphs.take(3)
    curly = FOREIGN["english_curly"][0]
    letters = "".join(_rtf_letter(letter) for letter in curly)
    yield TrueFile(
        "letter.rtf",
        (
            r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Times;}}{\colortbl;\red0\green0\blue0;}{\info{\author Berg}}"
            r"{\*\generator Something 1.0;}\pard\b Heading\b0\par " + a + r"\par " + letters + r"\par "
            r"Price:\tab 45 \'80\line next line{\footnote " + note + r"}\par {\v hidden: code 7741}"
            r"\trowd\cellx1000\cellx2000 Berth\cell Price\cell\row \trowd\cellx1000\cellx2000 A1\cell 310\cell\row\pard "
            + b
            + r"\par}"
        ).encode("ascii"),
        ("Heading", a, curly, "Price: 45 €", "next line", note, "Berth Price", "A1 310", b),
        hard="escaped letters, a note, a hidden run, a table",
    )
    a, b = paragraphs.take(2)
    field = r"{\field{\*\fldinst HYPERLINK \"https://example.org\"}{\fldrslt the list}}"
    picture = r"{\pict\pngblip\picw9\pich9 89504e470d0a1a0a" + "00" * 200 + "}"
    raw = (
        r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}{\f1\fcharset128 MS Gothic;}}{\stylesheet{\s1 heading 1;}}"
        r"{\header Running title\par}" + a + r" See " + field + r".\par {\listtext\'b7\tab}first point\par "
        r"{\listtext\'b7\tab}second point\par "
        + picture
        + r"{\*\shppict nothing}\uc2\u8364 EU 5\uc1, \u-10179?\u-8704?\par "
        r"{\deleted gone: code 7741}\f1 \'90\'85\'8e\'d4\f0\par " + b + r"\emdash \ldblquote so\rdblquote\par}"
    )
    yield TrueFile(
        "fields.rtf",
        raw.encode("ascii"),
        (f"{a} See the list.", "first point", "second point", "€ 5, 😀", "水車", f"{b}—“so”"),
        ("Running title", "\u00b7", "•"),
        "a link, a picture, lists, pairs of half letters, Japanese bytes, deleted text",
    )
    texts = FOREIGN["russian"]
    written = r"\par ".join("".join(_rtf_letter(letter) for letter in text) for text in texts)
    raw = r"{\rtf1\ansi\ansicpg1251\uc1{\fonttbl{\f0\fcharset204 Times;}}\f0 " + written + r"\par}"
    yield TrueFile("russian.rtf", raw.encode("ascii"), texts, hard="letters by number")
    old = r"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0\fcharset204 Times;}}\f0 "
    old += "".join(f"\\'{byte:02x}" if byte > 127 else chr(byte) for byte in texts[0].encode("cp1251")) + r"\par}"
    yield TrueFile("old-russian.rtf", old.encode("ascii"), texts[:1], hard="cp1251 as bytes")


def _rtf_letter(letter: str) -> str:
    if letter.isascii():
        return "\\" + letter if letter in "\\{}" else letter
    number = ord(letter)
    return f"\\u{number if number < 32768 else number - 65536}?"


def _zipped(entries: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text, zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED)
    return file.getvalue()
