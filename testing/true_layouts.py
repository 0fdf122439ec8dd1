"""HTML pages that mislead: names that sound like menus, links that are the text, words in several elements."""

# ruff: noqa: E501  the lines of the files that it writes

from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_texts import Paragraphs


def layout_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """HTML files."""
    names = (
        "Accident reports",
        "Bakehouse hours",
        "Clinic orders",
        "Ferry times",
        "Fees of the harbour",
        "Goat register",
    )
    links = "".join(f'<li><a href="{n}.html">{name}</a></li>' for n, name in enumerate(names))
    yield TrueFile(
        "index.html",
        f"<html><head><title>All</title></head><body><h1>All our documents</h1><ul>{links}</ul></body></html>".encode(),
        ("All our documents", *names),
        ("All",),
        "a list of links, which is the text",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "class-names.html",
        f"""<html><body><div id="header"><h1>Guest house</h1></div><div class="content"><p>{a}</p></div>
<div class="sidebar"><p>Breakfast: 7:30 to 9:15</p></div><div class="comment"><p>{b}</p></div>
<div class="footer-note"><p>Prices are without tax.</p></div><div class="share-your-room"><p>{c}</p></div></body></html>""".encode(),
        ("Guest house", a, "Breakfast: 7:30 to 9:15", b, "Prices are without tax.", c),
        hard="names of classes that sound like menus",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "inline.html",
        f"""<html><body><h1>Un<em>believ</em>able</h1><p>{a}</p><p>Weight:<b>10</b><i>kg</i>, code <code>A-17</code><sup>2</sup>,
CO<sub>2</sub>, <abbr title="kilometres per hour">km/h</abbr>, <q>so</q>, long<wbr>word, 5&#8239;%.</p>
<ul><li><p>{b}</p></li><li>first<ul><li>nested</li></ul>after the nested one</li></ul><pre>  a  1
  b  2</pre></body></html>""".encode(),
        (
            "Unbelievable",
            a,
            "Weight:10kg, code A-17^2, CO2, km/h,",
            "so",
            "longword, 5 %.",
            b,
            "first",
            "nested",
            "after the nested one",
            "a 1",
            "b 2",
        ),
        (",", '"', "“", "”", '", ', "kilometres per hour"),
        "words in several elements, text after a nested list",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "news.html",
        f"""<html><body><main><article><h2>First</h2><p>{a}</p><a href="/1">Read more</a></article>
<article><h2>Second</h2><p>{b}</p><a href="/2">Read more</a></article>
<article><h2>Third</h2><p>{c}</p><a href="/3">Read more</a></article></main></body></html>""".encode(),
        ("First", a, "Second", b, "Third", c),
        ("Read more",),
        "three articles on a page",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "tables.html",
        f"""<html><body><table><caption>Tides at Ostrand</caption><thead><tr><th>Day</th><th>High</th></tr></thead><tfoot><tr>
<td>Mean</td><td>2.9 m</td></tr></tfoot><tbody><tr><td>Mon<br>day</td><td><p>3.1 m</p><p>2.8 m</p></td></tr></tbody></table><p>{a}</p>
<table><tr><th colspan=2>Pumps</th></tr><tr><td>Nr 1</td><td><table><tr><td>inlet</td><td>outlet</td></tr></table></td></tr></table>
<p>{b}</p></body></html>""".encode(),
        (
            "Tides at Ostrand",
            "Day High",
            "Mean 2.9 m",
            "Mon day",
            "3.1 m",
            "2.8 m",
            a,
            "Pumps",
            "Nr 1",
            "inlet",
            "outlet",
            b,
        ),
        hard="captions, feet, two paragraphs in a cell, a table in a cell",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "groups.html",
        f"""<html><body><section><h2>Crew</h2><dl><div><dt>Master</dt><dd>Ines Okafor</dd><dd>since 2019</dd></div><div>
<dt>Mate</dt><dd>{a}</dd></div></dl></section><section><h2>Drill</h2><ol start="4"><li>sound the bell</li><li value="9">count heads</li>
</ol><hr><p>{b}</p></section><dialog open><p>The office is closed today.</p></dialog></body></html>""".encode(),
        (
            "Crew",
            "Master",
            "Ines Okafor",
            "since 2019",
            "Mate",
            a,
            "Drill",
            "sound the bell",
            "count heads",
            b,
            "The office is closed today.",
        ),
        hard="groups of definitions, an open dialog",
    )
