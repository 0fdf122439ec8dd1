"""The page of a run: every text escaped, what is absent left out, words from right to left; and as Markdown."""

import re
from dataclasses import replace

import pytest

from data.report.run_facts import (
    PLAIN,
    PROOF,
    QUOTED,
    Failures,
    Figure,
    Interval,
    Passage,
    RunFacts,
    RungDifference,
    RungScores,
    Series,
    ShownAnswer,
    ShownDecision,
    ShownQuestion,
    ShownQuote,
    StageCost,
    Table,
    told_bytes,
    told_seconds,
)
from data.report.run_markdown import escaped, run_markdown
from data.report.run_page import run_page
from data.report.run_plots import interval_plot, line_plot
from testing.tags import Tags

NASTY = '<script>alert("x")</script>&amp;{{ 7 * 7 }}'
HEBREW = "מתי נבנתה הטחנה?"
QUESTION = ShownQuestion(
    NASTY,
    NASTY,
    NASTY,
    [
        ShownAnswer(NASTY, NASTY, [ShownQuote(NASTY, NASTY), ShownQuote("nowhere", "")], right=False),
        ShownAnswer("tuned", HEBREW, [], right=True),
    ],
    [
        Passage(NASTY, ((NASTY, PLAIN), ("quoted <b>", QUOTED)), oracle=True, retrieved=False),
        Passage(NASTY, ((NASTY, PROOF),), oracle=False, retrieved=True),
    ],
)
EVERYTHING = RunFacts(
    name=NASTY,
    state="completed",
    about=NASTY,
    error=NASTY,
    headline=NASTY,
    tiles={NASTY: NASTY},
    asked=[(NASTY, NASTY)],
    changed=[(NASTY, NASTY)],
    data=[(NASTY, NASTY)],
    filters=Table(NASTY, [[NASTY], [NASTY]]),
    rungs=[
        RungScores(NASTY, 1234, {"token_f1": Interval(5, 0, 10), "quote_precision": None, NASTY: Interval(1, 1, 1)}),
        RungScores("tuned", 1234, {"token_f1": Interval(55.55, 50, 60), "quote_precision": Interval(90, 80, 99)}),
    ],
    labels={"token_f1": "token F1"},
    compared=(NASTY, "tuned"),
    paired=[RungDifference("tuned", NASTY, "token_f1", Interval(50.5, 40, 60), 0.0001, 1234)],
    judge=Table(NASTY, [["", NASTY], [NASTY, NASTY]], NASTY),
    sweep=Table(NASTY, [["", NASTY], [NASTY, NASTY]], NASTY),
    breakdown=[Table(NASTY, [["", NASTY], [NASTY, NASTY]], NASTY)],
    curves=[Figure(NASTY, NASTY, NASTY, [Series(NASTY, [1, 2, 3], [3.0, 2.0, 1.0])], NASTY)],
    curves_note=NASTY,
    robustness=[Figure(NASTY, NASTY, NASTY, [Series(NASTY, [NASTY, "b"], [1.0, 2.0], [0.5, 1.5], [2.0, 3.0])])],
    retriever=Table(NASTY, [[NASTY], [NASTY]], NASTY),
    examples=[QUESTION],
    examples_note=NASTY,
    failures=[Failures(NASTY, 3, QUESTION), Failures("not retrieved", 1, QUESTION)],
    failures_note=NASTY,
    decision=ShownDecision(NASTY, promoted=False, table=Table("", [[NASTY], [NASTY]])),
    stages=[StageCost(NASTY, 2, 0, 61.0, 2_500_000), StageCost("cached", 1, 1, 0.0, None)],
    tokens=[(NASTY, NASTY)],
    command=NASTY,
    digests=[(NASTY, NASTY)],
    versions={NASTY: NASTY},
    links={NASTY: NASTY},
    missing=[NASTY],
)
LITTLE = RunFacts(name="r", state="failed", about="a run", error="no such file")


def test_every_text_is_escaped_and_every_tag_is_closed() -> None:
    page = run_page(EVERYTHING)
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    assert "script" not in tags.seen
    assert "<script" not in page
    assert ">49" not in page
    assert tags.text.count(NASTY) >= 50
    assert any(value is not None and NASTY in value for _, value in tags.attributes), "it reads as text there, too"
    assert "<mark>quoted &lt;b&gt;</mark>" in page
    assert "<mark class=proof>&lt;script" in page
    for told in (
        "1,234",
        "55.5 (50.0 to 60.0)",
        "+50.5 (40.0 to 60.0)",
        "&lt; 0.001",
        "1 min 01 s",
        "2.5 MB",
        "nowhere",
    ):
        assert told in page, told


def test_the_page_needs_no_network_and_knows_light_dark_and_phones() -> None:
    page = run_page(EVERYTHING)
    assert not re.search(r"https?://|src=|url\(|@import|<link", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert page == run_page(EVERYTHING)


def test_what_a_run_has_not_measured_is_left_out() -> None:
    page, text = run_page(LITTLE), run_markdown(LITTLE)
    Tags().feed(page)
    assert "no such file" in page
    assert "no such file" in text
    assert not re.search(r"<h2|<table|<figure|<nav", page)
    assert "##" not in text
    for part, title in (("rungs", "Evaluation"), ("curves", "Training"), ("stages", "Cost"), ("examples", "Answers")):
        empty = replace(EVERYTHING, **{part: ()})
        assert f">{title}" not in run_page(empty)
        assert f"## {title}" not in run_markdown(empty)
    alone = replace(EVERYTHING, paired=(), breakdown=(), filters=None, tokens=(), changed=())
    Tags().feed(run_page(alone))


def test_a_run_that_had_nothing_to_do_points_to_the_one_it_repeats() -> None:
    repeats = replace(LITTLE, state="nothing to do", error="", repeats="2026-11-27-1 a&b")
    assert '<a href="../2026-11-27-1%20a%26b/report.html">2026-11-27-1 a&amp;b</a>' in run_page(repeats)
    assert "`2026-11-27-1 a&b`" in run_markdown(repeats)


def test_words_from_right_to_left_stand_in_their_own_direction() -> None:
    item = ShownQuestion(
        HEBREW,
        HEBREW,
        "",
        [ShownAnswer("tuned", HEBREW, [ShownQuote(HEBREW, HEBREW)], right=True)],
        [Passage(HEBREW, ((HEBREW, QUOTED),), oracle=True, retrieved=True)],
    )
    page = run_page(replace(LITTLE, examples=[item]))
    around = re.findall(rf"<([^<>]+)>(?:“|<mark>)?{re.escape(HEBREW)}", page)
    assert len(around) == 7
    assert all('dir="auto"' in tag or tag == "bdi" for tag in around), around


def test_markdown_shows_texts_as_they_are() -> None:
    text = run_markdown(replace(EVERYTHING, command="jora run --set 'a=```\n# b'"))
    assert "<script" not in text
    assert "````sh\njora run --set 'a=```\n# b'\n````" in text
    assert text.count("alert") >= 45
    assert escaped("# a | b\n*c* [d](e) <f> &amp; `g`") == (r"\# a \| b \*c\* \[d\](e) &lt;f> &amp;amp; \`g\`")
    assert len(escaped("word " * 1000)) < 500
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


@pytest.mark.parametrize(
    "series",
    [
        [],
        [Series("a", [], [])],
        [Series("a", [1], [0.0])],
        [Series("a", [1, 2], [float("nan"), 1.0])],
        [Series("a", [3, 1, 2], [5.0, 5.0, 5.0]), Series("b", [10], [-1.0], [-2.0], [0.0])],
        [Series("a", ["x", "y"], [1e-9, 2e-9]), Series("b", ["y", "z"], [1.0, 2.0])],
        [Series("a", list(range(1000)), [1e6 * n for n in range(1000)])],
    ],
)
def test_plots_of_little_and_of_much(series: list[Series]) -> None:
    drawn = str(line_plot(Figure("t", "x", "y", series)))
    tags = Tags()
    tags.feed(drawn)
    assert not tags.open
    assert "nan" not in drawn
    places = [float(value) for value in re.findall(r"(?:left|top):(-?[\d.]+)%", drawn)]
    assert all(0 <= place <= 100 for place in places)
    assert ("<svg" in drawn) == any(len(line.y) for line in series)


def test_intervals_lie_on_the_axis() -> None:
    assert interval_plot([], "x") == ""
    rows = [("a", Interval(-3, -9, 2), 0), ("b", Interval(0, 0, 0), 1), ("c", Interval(31, 30, 32), 7)]
    drawn = str(interval_plot(rows, "difference", zero=True))
    Tags().feed(drawn)
    assert all(0 <= float(place) <= 100 for place in re.findall(r'"(-?[\d.]+)%"', drawn))
    assert "-3.0 (-9.0 to 2.0)" in drawn
    assert 'class="zero"' in drawn


def test_a_rounded_zero_has_no_sign() -> None:
    assert str(Interval(-0.01, -0.04, 0.0)) == "0.0 (0.0 to 0.0)"


def test_times_and_sizes() -> None:
    assert [told_seconds(s) for s in (0.04, 59.94, 59.97, 61, 3720)] == [
        "0.0 s",
        "59.9 s",
        "1 min 00 s",
        "1 min 01 s",
        "1 h 02 min",
    ]
    assert [told_bytes(b) for b in (5, 1000, 999_960, 2e12)] == ["5 B", "1.0 kB", "1.0 MB", "2000.0 GB"]
