"""PPTX files: charts, tables and boxes in the order in which a person reads them; what is hidden is counted."""

import pptx
import pytest
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml import parse_xml
from pptx.util import Inches

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable
from data.documents.readers.office import read_pptx
from testing.readings import one
from testing.small_office import DIAGRAM, DIAGRAM_TEXT, saved

DEFAULT = DocumentSettings()
TITLE_AND_BODY, TITLE_ONLY = 1, 5


def box(slide, text: str, left: float, top: float, height: float = 0.5, shapes=None):
    """A text box at a place in inches."""
    shape = (shapes or slide.shapes).add_textbox(Inches(left), Inches(top), Inches(2), Inches(height))
    shape.text_frame.text = text
    return shape


def titled(deck, title: str, layout: int = TITLE_ONLY):
    slide = deck.slides.add_slide(deck.slide_layouts[layout])
    slide.shapes.title.text = title
    return slide


def read(deck, **settings) -> Extracted:
    return one(read_pptx(saved(deck), DocumentSettings(**settings)))


def test_a_slide_has_a_heading_and_notes_by_setting():
    deck = pptx.Presentation()
    for title, lines, notes in (("The mill", ["one line"], "Speak slowly."), ("Prices", ["first", "second"], "")):
        slide = titled(deck, title, TITLE_AND_BODY)
        slide.placeholders[1].text_frame.text = "\n".join(lines)
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(6.5), Inches(4), Inches(0.5)).table
    for number, text in enumerate(("Grain", "Price", "Rye", "3")):
        table.cell(number // 2, number % 2).text = text
    item = read(deck)
    first = "## The mill\n\none line\n\nNotes: Speak slowly."
    assert item.text == (f"{first}\n\n## Prices\n\n- first\n- second\n\n| Grain | Price |\n| --- | --- |\n| Rye | 3 |")
    assert item.pages == (0, len(first) + 2)
    silent = read(deck, slide_notes=False)
    assert "Speak" not in silent.text and silent.left_out == {"speaker's notes": 13}


def test_boxes_are_read_from_top_to_bottom_and_left_to_right():
    deck = pptx.Presentation()
    slide = titled(deck, "Order")
    box(slide, "fourth", 5, 4.02)
    group = slide.shapes.add_group_shape()
    box(slide, "sixth", 4, 6, shapes=group.shapes)
    box(slide, "fifth", 1, 6.05, shapes=group.shapes)
    box(slide, "second", 5, 2.0)
    box(slide, "third", 1, 4.0)
    box(slide, "first", 1, 2.1)
    assert read(deck).text == "## Order\n\n" + "\n\n".join(["first", "second", "third", "fourth", "fifth", "sixth"])


def test_charts_are_their_titles_and_data():
    deck = pptx.Presentation()
    data = CategoryChartData()
    data.categories = ["Rye", "Oats"]
    data.add_series("1931", (120, 340.5))
    data.add_series("1932", (0.1 + 0.2, None))
    place = (Inches(1), Inches(2), Inches(4), Inches(3))
    chart = titled(deck, "Sales").shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *place, data).chart
    chart.chart_title.text_frame.text = "Grain sold"
    chart.category_axis.axis_title.text_frame.text = "Grain"
    chart.value_axis.axis_title.text_frame.text = "Sacks"
    points = XyChartData()
    points.add_series("Depth").add_data_point(1.5, 7)
    titled(deck, "Water").shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, *place, points)
    first, second = read(deck).text.split("\n\n## Water\n\n")
    assert first == (
        "## Sales\n\nGrain sold\n\n| Grain | 1931 | 1932 |\n| --- | --- | --- |\n| Rye | 120 | 0.3 |\n"
        "| Oats | 340.5 |  |\n\nSacks"
    )
    assert second == "|  | Depth |\n| --- | --- |\n| 1.5 | 7 |"


def test_smart_art_scripts_and_equations_are_read():
    deck = pptx.Presentation()
    slide = titled(deck, "Steps")
    part = Part(PackURI("/ppt/diagrams/data1.xml"), "application/xml", slide.part.package, DIAGRAM.encode())
    relation = slide.part.relate_to(
        part, "http://schemas.openxmlformats.org/officeDocument/2006/relationships/diagramData"
    )
    frame = slide.shapes.add_table(1, 1, Inches(1), Inches(2), Inches(1), Inches(1))._element
    data = frame.find(".//{http://schemas.openxmlformats.org/drawingml/2006/main}graphicData")
    for child in list(data):
        data.remove(child)
    data.set("uri", "http://schemas.openxmlformats.org/drawingml/2006/diagram")
    names = "http://schemas.openxmlformats.org/{}"
    data.append(
        parse_xml(
            f'<dgm:relIds xmlns:dgm="{names.format("drawingml/2006/diagram")}" '
            f'xmlns:r="{names.format("officeDocument/2006/relationships")}" r:dm="{relation}"/>'
        )
    )
    paragraph = box(slide, "10", 1, 5).text_frame.paragraphs[0]
    raised = paragraph.add_run()
    raised.text = "6"
    raised._r.get_or_add_rPr().set("baseline", "30000")
    paragraph._p.append(
        parse_xml(
            f'<mc:AlternateContent xmlns:mc="{names.format("markup-compatibility/2006")}"><mc:Choice Requires="a14">'
            f'<a14:m xmlns:a14="urn:a14" xmlns:m="{names.format("officeDocument/2006/math")}"><m:oMath><m:r><m:t> l = Q'
            "</m:t></m:r></m:oMath></a14:m></mc:Choice><mc:Fallback/></mc:AlternateContent>"
        )
    )
    assert read(deck).text == f"## Steps\n\n{DIAGRAM_TEXT}\n\n10⁶l = Q"


def test_hidden_slides_and_repeated_footers_are_counted():
    deck = pptx.Presentation()
    for number in range(3):
        slide = titled(deck, f"Slide about {number}")
        footer = box(slide, "Mill of Corvo", 1, 7)
        holder = parse_xml(
            '<p:ph xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" type="ftr" idx="11"/>'
        )
        footer._element.nvSpPr.nvPr.append(holder)
        if number == 1:
            slide._element.set("show", "0")
    item = read(deck)
    assert item.text == "## Slide about 0\n\nMill of Corvo\n\n## Slide about 2"
    assert item.pages == (0, 31, 33)
    assert item.left_out == {"hidden slides": 16, "slide numbers and footers": 26}
    assert item.remarks == ("1 hidden slides are left out",)
    for slide in deck.slides:
        slide._element.set("show", "0")
    with pytest.raises(Unreadable, match="all its 3 slides are hidden"):
        read(deck)
