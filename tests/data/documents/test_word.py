"""DOCX files with everything that Word keeps beside plain paragraphs: what a person sees is read, once."""

import io
import zipfile

import docx
import pytest
from docx.oxml import parse_xml

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted
from data.documents.readers.office import read_docx, read_pptx
from testing.readings import one
from testing.small_files import rezipped
from testing.small_office import (
    CHART,
    CHART_TEXT,
    DIAGRAM,
    DIAGRAM_TEXT,
    body,
    named,
    paragraph,
    run,
    saved,
    strictly,
)

DEFAULT = DocumentSettings()
SOFT = "A li\u00adnk"
RAISED, LOWERED = '<w:vertAlign w:val="superscript"/>', '<w:vertAlign w:val="subscript"/>'


def read(*elements: str, **more) -> Extracted:
    return one(read_docx(body(*elements, **more), DEFAULT))


def notes(kind: str, **texts: str) -> str:
    inside = "".join(f'<w:{kind} w:id="{name[1:]}">{paragraph(text)}</w:{kind}>' for name, text in texts.items())
    return named(
        f'<w:{kind}s><w:{kind} w:type="separator" w:id="0">{paragraph("-----")}</w:{kind}>{inside}</w:{kind}s>'
    )


def test_notes_follow_the_paragraph_that_they_belong_to():
    item = read(
        paragraph(
            "The tax is 40 crowns",
            '<w:r><w:footnoteReference w:id="2"/></w:r>',
            ".",
            '<w:r><w:endnoteReference w:id="1"/></w:r>',
        ),
        paragraph("It is paid in March.", '<w:r><w:footnoteReference w:id="3"/></w:r>'),
        parts={
            "footnotes": notes("footnote", n2="Old mills are exempt.", n3="By order of the keeper."),
            "endnotes": notes("endnote", n1="See the annals."),
            "comments": named(f'<w:comments><w:comment w:id="1">{paragraph("Is it?")}</w:comment></w:comments>'),
        },
    )
    assert item.text == (
        "The tax is 40 crowns[^1].[^2]\n\n[^1]: Old mills are exempt.\n\n[^2]: See the annals.\n\n"
        "It is paid in March.[^3]\n\n[^3]: By order of the keeper."
    )
    assert item.left_out == {"comments": 6}


def test_hidden_deleted_and_moved_text_is_left_out_and_counted():
    styles = (
        '<w:style w:type="character" w:styleId="Secret"><w:name w:val="Secret"/><w:rPr><w:vanish/></w:rPr></w:style>'
        '<w:style w:type="paragraph" w:styleId="Below"><w:name w:val="Below"/><w:basedOn w:val="Gone"/></w:style>'
        '<w:style w:type="paragraph" w:styleId="Gone"><w:name w:val="Gone"/><w:rPr><w:vanish/></w:rPr></w:style>'
    )
    prompt = f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{run('Click here')}</w:sdtContent></w:sdt>"
    item = read(
        paragraph(
            "Seen. ",
            run("by itself", "<w:vanish/>"),
            run("by style", '<w:rStyle w:val="Secret"/>'),
            run("Shown.", '<w:vanish w:val="0"/>'),
        ),
        paragraph("all of it", properties='<w:pStyle w:val="Below"/>'),
        paragraph(
            "Here: ",
            f"<w:moveFrom>{run('old')}</w:moveFrom>",
            f"<w:moveTo>{run('moved')}</w:moveTo>",
            "<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>",
            f"<w:ins>{run(', inserted')}</w:ins>",
        ),
        paragraph(prompt, "Yes."),
        styles=styles,
    )
    assert item.text == "Seen. Shown.\n\nHere: moved, inserted\n\nYes."
    assert item.left_out == {
        "hidden text": 17 + 9,
        "moved text at its old place": 3,
        "deleted text": 7,
        "prompts of empty fields": 10,
    }


def test_page_headers_and_footers_are_counted():
    document = docx.Document()
    document.add_paragraph("Body.")
    document.sections[0].header.paragraphs[0].text = "Handbook"
    document.sections[0].footer.paragraphs[0].text = "Page"
    item = one(read_docx(saved(document), DEFAULT))
    assert (item.text, item.left_out) == ("Body.", {"page headers and footers": 12})


def test_symbols_fields_scripts_and_ruby():
    begin, separate, end = (f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "separate", "end"))
    checked = "<w:ffData><w:checkBox><w:checked/></w:checkBox></w:ffData>"
    box = f'<w:r><w:fldChar w:fldCharType="begin">{checked}</w:fldChar></w:r>'
    item = read(
        paragraph(
            "Turn 90",
            '<w:r><w:sym w:font="Symbol" w:char="F0B0"/></w:r>',
            " and ",
            '<w:r><w:sym w:font="Wingdings" w:char="F0FC"/></w:r>',
            run("\uf0b7", '<w:rFonts w:ascii="Symbol"/>'),
        ),
        paragraph("10", run("6", RAISED), " l of H", run("2", LOWERED), "O on the 1", run("st", RAISED)),
        paragraph(begin, "<w:r><w:instrText>DATE</w:instrText></w:r>", separate, "1931", end),
        paragraph(f"<w:hyperlink>{run(SOFT)}</w:hyperlink>", f"<w:fldSimple>{run(' and a field')}</w:fldSimple>"),
        paragraph(f"<w:r><w:ruby><w:rt>{run('みず')}</w:rt><w:rubyBase>{run('水')}</w:rubyBase></w:ruby></w:r>", "車"),
        paragraph('<w:r><w:sym w:font="Unheard Of" w:char="F044"/></w:r>'),
        paragraph(box, end, " paid"),
        paragraph(
            "Fee: ", begin, begin, "<w:r><w:instrText>AGE</w:instrText></w:r>", separate, "9", end, separate, "3", end
        ),
    )
    assert item.text.split("\n\n") == [
        "Turn 90° and ✓•",
        "10⁶ l of H₂O on the 1st",
        "1931",
        "A link and a field",
        "水車",
        "\ufffd",
        "☒ paid",
        "Fee: 3",
    ]
    assert item.left_out == {"pronunciation above characters": 2, "codes of fields": 1}
    assert item.remarks == ("1 symbols of fonts whose characters are not known",)


def m(name: str, *parts: str) -> str:
    return f"<m:{name}>{''.join(parts)}</m:{name}>"


def t(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (t("P = 3 Q h"), "P = 3 Q h"),
        (m("f", m("num", t("a+b")), m("den", t("2c"))), "(a+b)/(2c)"),
        (m("sSup", m("e", t("x")), m("sup", t("2"))) + m("sSub", m("e", t("y")), m("sub", t("ij"))), "x²y_ij"),
        (m("sSubSup", m("e", t("x")), m("sub", t("i")), m("sup", t("n+1"))), "x_iⁿ⁺¹"),
        (m("rad", m("deg", t("3")), m("e", t("x+1"))), "³√(x+1)"),
        (
            m("nary", '<m:naryPr><m:chr m:val="∑"/></m:naryPr>', m("sub", t("i=1")), m("sup", t("n")), m("e", t("i"))),
            "∑_(i=1)^n i",
        ),
        (m("d", m("e", t("a")), m("e", t("b"))), "(a|b)"),
        (m("func", m("fName", t("sin")), m("e", t("x"))), "sin x"),
        (m("m", m("mr", m("e", t("a")), m("e", t("b"))), m("mr", m("e", t("c")), m("e", t("d")))), "[a, b; c, d]"),
        (m("acc", m("accPr", '<m:chr m:val="&#x302;"/>'), m("e", t("x"))), "hat(x)"),
    ],
)
def test_equations_are_one_line_of_text(xml, text):
    assert read(paragraph("With ", f"<m:oMath>{xml}</m:oMath>", " here.")).text == f"With {text} here."


def test_headings_are_known_by_outline_levels_and_by_the_styles_that_they_are_based_on():
    styles = (
        '<w:style w:type="paragraph" w:styleId="Kapitel"><w:name w:val="Kapitel"/><w:pPr><w:outlineLvl w:val="1"/>'
        '</w:pPr></w:style><w:style w:type="paragraph" w:styleId="Own"><w:name w:val="Own"/>'
        '<w:basedOn w:val="Heading3"/></w:style>'
    )
    item = read(
        paragraph("By level", properties='<w:pStyle w:val="Kapitel"/>'),
        paragraph("By its base", properties='<w:pStyle w:val="Own"/>'),
        paragraph("By itself", properties='<w:outlineLvl w:val="0"/>'),
        paragraph("No heading", properties='<w:pStyle w:val="Own"/><w:outlineLvl w:val="9"/>'),
        styles=styles,
    )
    assert item.text == "## By level\n\n### By its base\n\n# By itself\n\nNo heading"


def test_list_items_have_the_labels_that_word_counts():
    levels = "".join(
        f'<w:lvl w:ilvl="{n}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for n, (kind, text) in enumerate((("decimal", "%1."), ("lowerLetter", "(%2)"), ("decimal", "%1.%2.%3")))
    )
    document = docx.Document()
    numbering = document.part.numbering_part.element
    numbering.insert(0, parse_xml(named(f'<w:abstractNum w:abstractNumId="90">{levels}</w:abstractNum>')))
    numbering.append(parse_xml(named('<w:num w:numId="90"><w:abstractNumId w:val="90"/></w:num>')))
    for level, text in ((0, "first"), (1, "inner"), (1, "other"), (2, "deep"), (0, "second"), (1, "again")):
        numbered = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="90"/></w:numPr>'
        document.element.body.insert(-1, parse_xml(named(paragraph(text, properties=numbered))))
    assert one(read_docx(saved(document), DEFAULT)).text == (
        "1. first\n  - (a) inner\n  - (b) other\n    - 1.b.1 deep\n2. second\n  - (a) again"
    )


def cell(*inside: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{''.join(inside)}</w:tc>"


def table(*rows: str) -> str:
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def test_boxes_merged_cells_and_nested_tables_are_read_once():
    content = f"<w:txbxContent>{paragraph('In the box.')}</w:txbxContent>"
    box = (
        f'<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:inline><a:graphic><a:graphicData><wps:wsp>'
        f"<wps:txbx>{content}</wps:txbx></wps:wsp></a:graphicData></a:graphic></wp:inline></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict><v:textbox>{content}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )
    cells = table(
        cell(paragraph("Wide"), properties='<w:gridSpan w:val="2"/>'),
        cell(paragraph("Tall"), properties='<w:vMerge w:val="restart"/>') + cell(paragraph("a")),
        cell(paragraph("Tall"), properties="<w:vMerge/>")
        + cell(table(cell(paragraph("in")) + cell(paragraph("side"))), paragraph()),
    )
    frame = table(cell(paragraph("Framed."), paragraph("Twice.")))
    assert read(paragraph("Beside a box.", box), cells, frame).text == (
        "Beside a box.\n\nIn the box.\n\n| Wide |  |\n| --- | --- |\n| Tall | a |\n|  | in side |\n\nFramed.\n\nTwice."
    )


def test_charts_and_smart_art_are_read():
    drawings = (
        f"<w:r><w:drawing><wp:inline><a:graphic><a:graphicData>{inside}</a:graphicData></a:graphic></wp:inline>"
        "</w:drawing></w:r>"
        for inside in ('<c:chart r:id="{chart}"/>', '<dgm:relIds r:dm="{diagramData}"/>')
    )
    item = read(paragraph("See:", *drawings), parts={"chart": CHART, "diagramData": DIAGRAM})
    assert item.text == f"See:\n\n{CHART_TEXT}\n\n{DIAGRAM_TEXT}"


def test_strict_files_and_templates_are_read():
    raw = body(paragraph("The mill", properties='<w:pStyle w:val="Heading1"/>'), paragraph("It grinds."))
    assert one(read_docx(raw, DEFAULT)).text == "# The mill\n\nIt grinds."
    assert one(read_docx(strictly(raw), DEFAULT)).text == "# The mill\n\nIt grinds."
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        types = archive.read("[Content_Types].xml")
    kind = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    assert kind in types
    other = types.replace(kind, b"application/vnd.ms-word.document.macroEnabled.main+xml")
    assert one(read_docx(rezipped(raw, {"[Content_Types].xml": other}), DEFAULT)).text == "# The mill\n\nIt grinds."


def test_strict_slides_are_read():
    import pptx

    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[1]).shapes.title.text = "The mill"
    assert one(read_pptx(strictly(saved(deck)), DEFAULT)).text == "## The mill"
