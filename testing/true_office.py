"""DOCX files with their true text: notes, tracked changes, fields, equations, boxes, own styles, several scripts."""

# ruff: noqa: E501  the lines of the files that it writes

import io
from collections.abc import Iterator
from typing import Any

from testing.small_files import rezipped
from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_M = "http://schemas.openxmlformats.org/officeDocument/2006/math"
NAMES = f'xmlns:w="{_W}" xmlns:m="{_M}"'
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def office_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """DOCX files."""
    yield _plain(paragraphs)
    yield _tables(paragraphs)
    yield _changes(paragraphs)
    yield _pieces(paragraphs)
    yield _notes(paragraphs)
    yield _boxes(paragraphs)
    yield _strict(paragraphs)
    yield _chart(paragraphs)
    for language in ("hebrew", "chinese", "turkish"):
        document = new()
        for text in FOREIGN[language]:
            document.add_paragraph(text)
        yield TrueFile(f"{language}.docx", saved(document), FOREIGN[language])


def _plain(paragraphs: Paragraphs) -> TrueFile:
    a, b, c = paragraphs.take(3)
    document = new()
    document.add_heading("Cold store", 0)
    document.add_heading("Night shift", 1)
    document.add_paragraph(a)
    for item in ("sign the sheet", "lock chamber four", b):
        document.add_paragraph(item, style="List Bullet")
    document.add_heading("Morning", 2)
    paragraph = document.add_paragraph("Read the ")
    paragraph.add_run("blue").bold = True
    paragraph.add_run(" ledger, then ")
    paragraph.add_run("go home").italic = True
    paragraph.add_run(".")
    own = document.styles.add_style("Kapitel", 1)
    own.base_style = document.styles["Heading 2"]
    document.add_paragraph("A heading of an own style", style="Kapitel")
    document.add_paragraph(c)
    document.sections[0].header.paragraphs[0].text = "Internal, version 3"
    document.sections[0].footer.paragraphs[0].text = "Harbour Works"
    truth: tuple[str, ...] = ("Cold store", "Night shift", a, "sign the sheet", "lock chamber four", b, "Morning")
    truth += ("Read the blue ledger, then go home.", "A heading of an own style", c)
    return TrueFile("plain.docx", saved(document), truth, ("Internal, version 3", "Harbour Works"))


def _tables(paragraphs: Paragraphs) -> TrueFile:
    a, b = paragraphs.take(2)
    document = new()
    document.add_paragraph(a)
    table = document.add_table(rows=4, cols=3)
    title = table.cell(0, 0).merge(table.cell(0, 2))
    title.text = "Berths of the north quay"
    for row, line in enumerate((("Berth", "Length", "Price"), ("A1", "8 m", "310"), ("B7", "12 m", "495")), start=1):
        for column, cell in enumerate(line):
            table.cell(row, column).text = cell
    inner = table.cell(3, 2).add_table(rows=1, cols=2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "from May", "to October"
    document.add_paragraph(b)
    truth: tuple[str, ...] = (
        a,
        "Berths of the north quay",
        "Berth Length Price",
        "A1 8 m 310",
        "B7",
        "12 m",
        "495",
        "from May",
    )
    return TrueFile("tables.docx", saved(document), (*truth, "to October", b), hard="merged cells, a table in a cell")


def _changes(paragraphs: Paragraphs) -> TrueFile:
    a, b, c = paragraphs.take(3)
    document = new()
    document.add_paragraph(a)
    append(
        document,
        f"""<w:p {NAMES}><w:r><w:t xml:space="preserve">The fee is </w:t></w:r>
<w:del w:id="1" w:author="x"><w:r><w:delText>280</w:delText></w:r></w:del>
<w:ins w:id="2" w:author="x"><w:r><w:t>310</w:t></w:r></w:ins><w:r><w:t xml:space="preserve"> euros.</w:t></w:r></w:p>""",
    )
    append(
        document,
        f"""<w:p {NAMES}><w:moveFromRangeStart w:id="3" w:name="m"/><w:moveFrom w:id="4" w:author="x"><w:r>
<w:t>{b}</w:t></w:r></w:moveFrom><w:moveFromRangeEnd w:id="3"/></w:p>""",
    )
    document.add_paragraph(c)
    append(
        document,
        f"""<w:p {NAMES}><w:moveToRangeStart w:id="5" w:name="m"/><w:moveTo w:id="6" w:author="x"><w:r>
<w:t>{b}</w:t></w:r></w:moveTo><w:moveToRangeEnd w:id="5"/></w:p>""",
    )
    append(
        document,
        f"""<w:p {NAMES}><w:r><w:t>Seen.</w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t> Hidden: code 7741.</w:t></w:r>
</w:p>""",
    )
    return TrueFile(
        "changes.docx",
        saved(document),
        (a, "The fee is 310 euros.", c, b, "Seen."),
        hard="deleted, inserted, moved and hidden text",
    )


def _pieces(paragraphs: Paragraphs) -> TrueFile:
    """What stands inside a paragraph without being a plain run."""
    a, b = paragraphs.take(2)
    document = new()
    document.add_paragraph(a)
    run = '<w:r><w:t xml:space="preserve">{}</w:t></w:r>'
    for inner in (
        run.format("Call ")
        + f'<w:hyperlink w:anchor="x">{run.format("the porter")}</w:hyperlink>'
        + run.format(" first."),
        run.format("non")
        + "<w:r><w:noBreakHyphen/></w:r>"
        + run.format("return valve, tem")
        + "<w:r><w:softHyphen/></w:r>"
        + run.format("perature"),
        run.format("Symbol: ") + '<w:r><w:sym w:font="Symbol" w:char="F061"/></w:r>' + run.format(" is alpha."),
        run.format("Volume ") + "<m:oMath><m:r><m:t>V=a+b</m:t></m:r></m:oMath>" + run.format(" in litres."),
        f"<w:sdt><w:sdtContent>{run.format('A field to fill in')}</w:sdtContent></w:sdt>",
        f'<w:smartTag w:uri="u" w:element="e">{run.format("Little Teague")}</w:smartTag>' + run.format(" harbour"),
        f'<w:fldSimple w:instr=" REF x ">{run.format("Table 4")}</w:fldSimple>' + run.format(" lists them."),
        run.format("See page ")
        + '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> PAGEREF y </w:instrText>'
        + '</w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r>'
        + run.format("12")
        + '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
        + run.format("."),
        "<w:r><w:t>left</w:t><w:tab/><w:t>right</w:t><w:br/><w:t>next line</w:t></w:r>",
        run.format("10")
        + '<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>6</w:t></w:r>'
        + run.format(" grains"),
    ):
        append(document, f"<w:p {NAMES}>{inner}</w:p>")
    append(document, f"<w:sdt {NAMES}><w:sdtContent><w:p>{run.format(b)}</w:p></w:sdtContent></w:sdt>")
    truth: tuple[str, ...] = (
        a,
        "Call the porter first.",
        "non-return valve, temperature",
        "Symbol: α is alpha.",
        "Volume V=a+b in litres.",
    )
    truth += (
        "A field to fill in",
        "Little Teague harbour",
        "Table 4 lists them.",
        "See page 12.",
        "left right",
        "next line",
    )
    return TrueFile(
        "pieces.docx",
        saved(document),
        (*truth, "10^6 grains", b),
        ("$",),
        "links, symbols, equations, fields, controls",
    )


def _notes(paragraphs: Paragraphs) -> TrueFile:
    a, b, note, end = paragraphs.take(4)
    document = new()
    document.add_paragraph(a)
    reference = '<w:r><w:{0}Reference w:id="2"/></w:r>'
    append(
        document,
        f"""<w:p {NAMES}><w:r><w:t>{b}</w:t></w:r>{reference.format("footnote")}{reference.format("endnote")}</w:p>""",
    )
    parts, relations, types = {}, "", ""
    for kind, text in (("footnote", note), ("endnote", end)):
        parts[f"word/{kind}s.xml"] = (
            f'<?xml version="1.0" encoding="UTF-8"?><w:{kind}s {NAMES}><w:{kind} w:type="separator" w:id="0"><w:p><w:r>'
            f'<w:separator/></w:r></w:p></w:{kind}><w:{kind} w:id="2"><w:p><w:r><w:{kind}Ref/></w:r><w:r><w:t>{text}</w:t>'
            f"</w:r></w:p></w:{kind}></w:{kind}s>"
        ).encode()
        relations += f'<Relationship Id="rIdN{kind}" Type="{_R}/{kind}s" Target="{kind}s.xml"/>'
        types += f'<Override PartName="/word/{kind}s.xml" ContentType="{_TYPE}.{kind}s+xml"/>'
    content = _with_parts(saved(document), parts, relations, types)
    return TrueFile(
        "notes.docx",
        content,
        (a, b, note, end),
        ("1", "2", "[^1]:", "[^2]:", "[^1]", "[^2]", "^1", "^2"),
        "foot and end notes",
    )


def _boxes(paragraphs: Paragraphs) -> TrueFile:
    """A box of text that stands in the file twice: as a drawing, and for older programs."""
    a, b, c = paragraphs.take(3)
    box = f"<w:txbxContent><w:p><w:r><w:t>{b}</w:t></w:r></w:p></w:txbxContent>"
    document = new()
    document.add_paragraph(a)
    append(
        document,
        f"""<w:p {NAMES} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"
xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"
xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"
xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:v="urn:schemas-microsoft-com:vml"><w:r>
<mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:inline><wp:extent cx="9" cy="9"/><wp:docPr id="1" name="b"/>
<a:graphic><a:graphicData uri="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"><wps:wsp><wps:txbx>{box}
</wps:txbx></wps:wsp></a:graphicData></a:graphic></wp:inline></w:drawing></mc:Choice><mc:Fallback><w:pict><v:shape>
<v:textbox>{box}</v:textbox></v:shape></w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>""",
    )
    document.add_paragraph(c)
    return TrueFile("boxes.docx", saved(document), (a, b, c), hard="a box that stands in the file twice")


def _strict(paragraphs: Paragraphs) -> TrueFile:
    """The same format under the names of the strict standard."""
    texts = paragraphs.take(2)
    document = new()
    document.add_heading("Strict", 1)
    for text in texts:
        document.add_paragraph(text)
    import zipfile

    plain = saved(document)
    changes = {}
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        for name in archive.namelist():
            if name.endswith((".xml", ".rels")):
                raw = archive.read(name)
                raw = raw.replace(_W.encode(), b"http://purl.oclc.org/ooxml/wordprocessingml/main")
                changes[name] = raw.replace(_R.encode(), b"http://purl.oclc.org/ooxml/officeDocument/relationships")
    return TrueFile("strict.docx", rezipped(plain, changes), ("Strict", *texts), hard="strict OOXML")


def _chart(paragraphs: Paragraphs) -> TrueFile:
    """A chart with a title; its part is the one that a presentation would hold."""
    from testing.true_slides import chart_xml

    a, b = paragraphs.take(2)
    document = new()
    document.add_paragraph(a)
    drawing = "http://schemas.openxmlformats.org/drawingml/2006"
    append(
        document,
        f"""<w:p {NAMES} xmlns:wp="{drawing}/wordprocessingDrawing" xmlns:a="{drawing}/main" xmlns:r="{_R}"><w:r><w:drawing>
<wp:inline><wp:extent cx="5486400" cy="3200400"/><wp:docPr id="7" name="Chart"/><a:graphic><a:graphicData uri="{drawing}/chart">
<c:chart xmlns:c="{drawing}/chart" r:id="rIdChart"/></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>""",
    )
    document.add_paragraph(b)
    kind = "application/vnd.openxmlformats-officedocument.drawingml.chart+xml"
    content = _with_parts(
        saved(document),
        {"word/charts/chart1.xml": chart_xml("Landings in 2026", ("Ostrand", "Maidens"), {"Herring": (412, 95)})},
        f'<Relationship Id="rIdChart" Type="{_R}/chart" Target="charts/chart1.xml"/>',
        f'<Override PartName="/word/charts/chart1.xml" ContentType="{kind}"/>',
    )
    truth = (a, "Landings in 2026", "Herring", "Ostrand", "412", "Maidens", "95", b)
    return TrueFile("chart.docx", content, truth, (".0",), "a chart")


def new() -> Any:
    """An empty document."""
    import docx

    return docx.Document()


def append(document: Any, xml: str) -> None:
    """Adds an element to the end of the text."""
    from docx.oxml import parse_xml

    body = document.element.body
    # The last element holds the properties of the section.
    body.insert(len(body) - 1, parse_xml(" ".join(xml.split("\n"))))


def saved(document: Any) -> bytes:
    """The file of a document."""
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _with_parts(archive: bytes, parts: dict[str, bytes], relations: str, types: str) -> bytes:
    """The document with more parts, their relations and content types."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        known = source.read("word/_rels/document.xml.rels").replace(
            b"</Relationships>", f"{relations}</Relationships>".encode()
        )
        listed = source.read("[Content_Types].xml").replace(b"</Types>", f"{types}</Types>".encode())
    return rezipped(archive, {**parts, "word/_rels/document.xml.rels": known, "[Content_Types].xml": listed})
