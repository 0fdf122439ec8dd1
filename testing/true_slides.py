"""PPTX files with their true text: tables, charts, groups, notes, boxes drawn in another order than they are read."""

import io
from collections.abc import Iterator
from typing import Any

from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

#: What a reader may write above a slide.
_LABELS = ("Slide 1", "Slide 2", "Slide 3", "Slide 4", "Notes:", "Notes", "Speaker notes")


def slide_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """PPTX files."""
    yield _plain(paragraphs)
    yield _charts(paragraphs)
    yield _order(paragraphs)
    yield _groups(paragraphs)
    deck = _new()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "水車小屋", FOREIGN["japanese"][0]
    yield TrueFile("japanese.pptx", _saved(deck), ("水車小屋", FOREIGN["japanese"][0]), _LABELS)


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
        _LABELS,
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
    return TrueFile("charts.pptx", _saved(deck), truth, (*_LABELS, ".0"), "a chart and its title, a table")


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
        (*_LABELS, "A slide that is not shown"),
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
    return TrueFile("groups.pptx", _saved(deck), ("inlet", "pump", "outlet", a), _LABELS, "groups in groups")


def _new() -> Any:
    import pptx

    return pptx.Presentation()


def _saved(deck: Any) -> bytes:
    file = io.BytesIO()
    deck.save(file)
    return file.getvalue()
