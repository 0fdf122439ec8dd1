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
    yield from _more(paragraphs)
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
        (":",),
        "groups of definitions, an open dialog",
    )


def _more(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    names = ("Accident reports", "Bakehouse hours", "Clinic orders", "Ferry times", "Fees of the harbour")
    links = "".join(f'<a href="{n}.html">{name}</a><br>' for n, name in enumerate(names))
    yield TrueFile(
        "only-a-menu.html",
        f"<html><head><title>Map</title></head><body><nav>{links}</nav></body></html>".encode(),
        names,
        ("Map",),
        "a page whose only text is its menu",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "literal.html",
        f"""Text before any tag.<h2>How to write &lt;script&gt;</h2><p>{a}</p><p>Write &lt;b&gt;bold&lt;/b&gt; &amp;amp; go on: 3 &lt; 4,
&#34;so&#34;, &copy 2026, x<sup>2</sup>+1, &frac12; &mdash; &hellip;</p><textarea>&lt;p&gt;in a box&lt;/p&gt;</textarea>
<script type="application/ld+json">{{"secret": "code 7741"}}</script><noscript>Turn scripts on.</noscript>
<svg width="9"><title>Gauge</title><style>.a{{}}</style></svg><p style="color:red; display : none">code 7742</p><p>{b}</p>
<li>an item without a list<td>a cell without a table""".encode(),
        (
            "Text before any tag.",
            "How to write <script>",
            a,
            'Write <b>bold</b> &amp; go on: 3 < 4, "so", © 2026, x^2+1, ½ — …',
            "<p>in a box</p>",
            b,
            "an item without a list",
            "a cell without a table",
        ),
        ("Turn scripts on.", "Gauge"),
        "markup as text, tags in wrong places",
    )
    a, b = paragraphs.take(2)
    for name, meta, encoding in (
        ("says-utf8.html", '<meta charset="utf-8">', "cp1252"),
        ("says-nonsense.html", "<meta charset=utf8x>", "utf-8"),
        ("says-ascii.html", '<META HTTP-EQUIV=content-type CONTENT="text/html;charset=us-ascii">', "cp1252"),
        ("marked.html", "<meta charset=windows-1251>", "utf-8-sig"),
    ):
        text = "L’été, la crêperie ferme à 23 h – sauf le lundi ; la Noël se fête “entre nous”."
        page = f"<html><head>{meta}<title>é</title></head><body><p>{a}</p><p>{text}</p></body></html>"
        yield TrueFile(name, page.encode(encoding), (a, text), ("é",), f"{encoding} under {meta}")
    korean = "등대는 천구백삼십일년에 세워졌고 지금은 작은 박물관이다."
    page = f'<html><head><meta charset="ks_c_5601-1987"></head><body><p>{korean}</p></body></html>'
    yield TrueFile("ks-c.html", page.encode("cp949"), (korean,), hard="a name of an encoding that browsers know")
    chinese = "图书馆每天上午九点开门，星期一休息；镕基路的分馆另有时间。"
    page = f'<html><head><meta charset="gb2312"></head><body><p>{chinese}</p></body></html>'
    yield TrueFile("gb2312.html", page.encode("gbk"), (chinese,), hard="gbk that says gb2312, as browsers expect")
    yield TrueFile(
        "price-list.html",
        f"""<html><body><h1>Prices</h1><div class=row><span>Single room</span>&nbsp;<span>45 euros</span></div><div class=row>
<span>Double room</span> <span>70 euros</span></div><p>{b}</p><div aria-label="x"><b>Pets</b>: 5 euros</div><p><a href="t">Terms
and conditions</a> apply.</p><p>1</p><p>OK</p></body></html>""".encode(),
        (
            "Prices",
            "Single room",
            "45 euros",
            "Double room",
            "70 euros",
            b,
            "Pets: 5 euros",
            "Terms and conditions apply.",
            "1",
            "OK",
        ),
        hard="prices in spans side by side, paragraphs of two letters",
    )
