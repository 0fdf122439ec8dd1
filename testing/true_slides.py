"""PPTX files with their true text: tables, charts, groups, notes, boxes drawn in another order than they are read."""

# ruff: noqa: E501  the lines of the files that it writes

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

#: What a reader may write above a slide.
LABELS = ("Slide 1", "Slide 2", "Slide 3", "Slide 4", "Notes:", "Notes", "Speaker notes")


def slide_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """PPTX files."""
    yield _plain(paragraphs)
    yield _charts(paragraphs)
    yield _order(paragraphs)
    yield _groups(paragraphs)
    yield _diagram(paragraphs)
    deck = _new()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "水車小屋", FOREIGN["japanese"][0]
    yield TrueFile("japanese.pptx", _saved(deck), ("水車小屋", FOREIGN["japanese"][0]), LABELS)


def _plain(paragraphs: Paragraphs) -> TrueFile:
    a, b, notes = paragraphs.take(3)
    deck = _new()
    slide = deck.slides.add_slide(deck.slide_layouts[0])
    slide.shapes.title.text, slide.placeholders[1].text = "Cold store", "A talk for new people"
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Night shift"
    frame = slide.placeholders[1].text_frame
    frame.text = a
    deeper = frame.add_paragraph()
    deeper.text, deeper.level = "sign the sheet", 1
    slide.notes_slide.notes_text_frame.text = notes
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Empty box below"
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = b
    return TrueFile(
        "plain.pptx",
        _saved(deck),
        ("Cold store", "A talk for new people", "Night shift", a, "sign the sheet", notes, "Empty box below", b),
        LABELS,
        "notes, levels, an empty placeholder",
    )


def _charts(paragraphs: Paragraphs) -> TrueFile:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    a = paragraphs.take()[0]
    deck = _new()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Catch by port"
    data = CategoryChartData()
    data.categories = ["Ostrand", "Little Teague", "Maidens"]
    data.add_series("Herring, tonnes", (412, 377, 95))
    data.add_series("Cod, tonnes", (88, 61, 140))
    chart = slide.shapes.add_chart(
        XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(2), Inches(6), Inches(3), data
    ).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Landings in 2026"
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Berths"
    table = slide.shapes.add_table(3, 2, Inches(1), Inches(2), Inches(4), Inches(2)).table
    for row, line in enumerate((("Berth", "Price"), ("A1", "310"), ("B7", "495"))):
        for column, cell in enumerate(line):
            table.cell(row, column).text = cell
    box = slide.shapes.add_textbox(Inches(1), Inches(5), Inches(6), Inches(1))
    box.text_frame.text = a
    truth: tuple[str, ...] = (
        "Catch by port",
        "Landings in 2026",
        "Herring, tonnes",
        "Cod, tonnes",
        "Ostrand",
        "412",
        "88",
    )
    truth += ("Little Teague", "377", "61", "Maidens", "95", "140", "Berths", "Berth Price", "A1 310", "B7 495", a)
    return TrueFile("charts.pptx", _saved(deck), truth, (*LABELS, ".0"), "a chart and its title, a table")


def _order(paragraphs: Paragraphs) -> TrueFile:
    """The boxes are drawn from the bottom to the top."""
    from pptx.util import Inches

    a, b = paragraphs.take(2)
    deck = _new()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    for top, text in ((5, b), (3, "Second: the gauge"), (1, a), (0.2, "First: the valve")):
        box = slide.shapes.add_textbox(Inches(1), Inches(top), Inches(7), Inches(1))
        box.text_frame.text = text
    hidden = deck.slides.add_slide(deck.slide_layouts[6])
    hidden.shapes.add_textbox(Inches(1), Inches(1), Inches(5), Inches(1)).text_frame.text = "A slide that is not shown"
    hidden.element.set("show", "0")
    return TrueFile(
        "order.pptx",
        _saved(deck),
        ("First: the valve", a, "Second: the gauge", b),
        (*LABELS, "A slide that is not shown"),
        "boxes drawn from the bottom to the top, a hidden slide",
    )


def _groups(paragraphs: Paragraphs) -> TrueFile:
    from pptx.util import Inches

    a = paragraphs.take()[0]
    deck = _new()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    group = slide.shapes.add_group_shape()
    for number, text in enumerate(("inlet", "pump", "outlet")):
        shape = group.shapes.add_shape(1, Inches(1 + 2 * number), Inches(1), Inches(1), Inches(1))
        shape.text_frame.text = text
    inner = group.shapes.add_group_shape()
    inner.shapes.add_textbox(Inches(1), Inches(3), Inches(5), Inches(1)).text_frame.text = a
    return TrueFile("groups.pptx", _saved(deck), ("inlet", "pump", "outlet", a), LABELS, "groups in groups")


def chart_xml(title: str, categories: Sequence[str], series: Mapping[str, Sequence[float]]) -> bytes:
    """The XML of a column chart, as a slide holds it."""
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    data = CategoryChartData()
    data.categories = categories
    for name, values in series.items():
        data.add_series(name, values)
    deck = _new()
    shapes = deck.slides.add_slide(deck.slide_layouts[6]).shapes
    size = (Inches(1), Inches(1), Inches(4), Inches(3))
    chart = shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *size, data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = title
    raw: bytes = chart.part.blob
    # The workbook behind it stays in the presentation.
    return re.sub(rb"<c:externalData.*?</c:externalData>", b"", raw, flags=re.DOTALL)


def _diagram(paragraphs: Paragraphs) -> TrueFile:
    """A diagram (SmartArt), whose words are in a part of their own."""
    from pptx.opc.package import Part
    from pptx.opc.packuri import PackURI
    from pptx.oxml import parse_xml

    a = paragraphs.take()[0]
    words = ("catch", "sort", "ice", a)
    drawing = "http://schemas.openxmlformats.org/drawingml/2006"
    points = "".join(
        f'<dgm:pt modelId="{number}"><dgm:t><a:bodyPr/><a:p><a:r><a:t>{word}</a:t></a:r></a:p></dgm:t></dgm:pt>'
        for number, word in enumerate(words, start=1)
    )
    data = f'<dgm:dataModel xmlns:dgm="{drawing}/diagram" xmlns:a="{drawing}/main"><dgm:ptLst>{points}</dgm:ptLst></dgm:dataModel>'
    deck = _new()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "From net to ice"
    kind = "application/vnd.openxmlformats-officedocument.drawingml.diagramData+xml"
    part = Part(PackURI("/ppt/diagrams/data1.xml"), kind, slide.part.package, data.encode())
    related = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    relation = slide.part.relate_to(part, f"{related}/diagramData")
    slide.shapes._spTree.append(
        parse_xml(
            f"""<p:graphicFrame xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:a="{drawing}/main"
xmlns:r="{related}"><p:nvGraphicFramePr><p:cNvPr id="9" name="Diagram"/><p:cNvGraphicFramePr/><p:nvPr/></p:nvGraphicFramePr>
<p:xfrm><a:off x="914400" y="1828800"/><a:ext cx="6096000" cy="3048000"/></p:xfrm><a:graphic><a:graphicData
uri="{drawing}/diagram"><dgm:relIds xmlns:dgm="{drawing}/diagram" r:dm="{relation}" r:lo="x" r:qs="x" r:cs="x"/>
</a:graphicData></a:graphic></p:graphicFrame>"""
        )
    )
    return TrueFile("diagram.pptx", _saved(deck), ("From net to ice", *words), LABELS, "a diagram")


def _new() -> Any:
    import pptx

    return pptx.Presentation()


def _saved(deck: Any) -> bytes:
    file = io.BytesIO()
    deck.save(file)
    return file.getvalue()
