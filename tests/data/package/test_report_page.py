"""The report: a page on its own, every text of the dataset escaped."""

import re

import pytest

from data.package.report_page import Filter, Report, SplitFacts, report_page
from data.raft.leaks import Leak, LeakReport
from data.report.charts import bars, histogram
from data.report.highlight import ShownChunk, ShownExample
from testing.tags import Tags

NASTY = '<script>alert("x")</script>&amp;{{ 7 * 7 }}'


def report(**changes) -> Report:
    leaks = LeakReport(
        NASTY,
        {"question_cosine": 0.95, "chunk_cosine": 0.95, "chunk_words": 0.8},
        {"chunks shown": 3},
        [Leak("chunk", "a", "b")] if changes.pop("leaky", False) else [],
        [],
        {"question_cosine": 0.5, "chunk_cosine": 0.6},
    ).as_json()
    chunk = ShownChunk(NASTY, NASTY, ((NASTY, False), ("quoted <b>", True)), oracle=True)
    given = {
        "totals": {"documents": 12345},
        "filters": [Filter(NASTY, 10, {NASTY: 3, "none of this": 0})],
        "splits": {NASTY: SplitFacts(4, 1, 2, [5, 9, 7, 7], [1, 2, 3, 4], [0.9], [0.1, 0.2])},
        "examples": [ShownExample(NASTY, NASTY, (chunk,), ((NASTY, True),), NASTY, True, "documents")],
        "leaks": [leaks],
        "counts": {NASTY: {NASTY: 1}},
        "settings": {NASTY: NASTY},
        "retriever": [[NASTY, "recall@5"], [NASTY, "0.9"]],
    }
    return Report(**{**given, **changes})


def test_every_text_is_escaped_and_every_tag_is_closed():
    page = report_page(report())
    tags = Tags()
    tags.feed(page)
    assert not tags.open and "script" not in tags.seen and "<script" not in page
    assert tags.text.count('<script>alert("x")</script>&amp;{{ 7 * 7 }}') >= 20 and ">49" not in page
    assert "12,345" in page and "quoted &lt;b&gt;</mark>" in page
    assert "No leak" in tags.text and "none of this" not in page


def test_the_page_needs_no_network_and_knows_light_dark_and_phones():
    page = report_page(report())
    assert not re.search(r"https?://|src=|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    assert page == report_page(report())


def test_leaks_are_not_hidden_and_a_retriever_is_not_needed():
    assert "1 leak<" in report_page(report(leaky=True)) and "The retriever" not in report_page(report(retriever=()))


def test_what_is_left_of_a_filter():
    assert Filter("x", 10, {"a": 3, "b": 2}).left == 5


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": [1.0]}, {"a": [1, 1, 2], "b": []}])
def test_histograms_of_little(values):
    drawn = str(histogram(values, "x", integers=True))
    Tags().feed(drawn)
    assert drawn.count("<title>") == len(set(values.get("a", [])))


def test_bars_tell_their_share():
    assert "a: 1 of 4 (25.0%)" in bars({"a": (1, 4), "b": (0, 0)}, "x")
