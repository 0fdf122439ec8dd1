"""HTML: what a person reads in a browser comes out whole, in order and once; what is left out is counted by kind."""

import re
import time
import unicodedata

import pytest
from lxml.html import document_fromstring

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Unreadable
from data.documents.readers.html import html_page, read_html, read_xhtml
from testing.readings import one

DEFAULT = DocumentSettings()


def text_of(body: str) -> str:
    return html_page(f"<html><body>{body}</body></html>").text


def words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text))


def visible_words(page: str) -> list[str]:
    """Independent of the reader: all text of the body but scripts and styles."""
    body = document_fromstring(page).body
    for element in body.xpath("//script | //style | //comment()"):
        element.drop_tree()
    return words(" ".join(body.itertext()))


NUMBERS = re.compile(r"(?m)^ *\d+\. ")  # of list items
PAGE = """<html><head><title> The  mill </title><meta charset="{charset}"><script>var secret = 1;</script>
<style>p {{ color: red }}</style></head><body>
<nav><a href="/">Home</a> <a href="/shop">Shop</a> <a href="/contact">Contact</a></nav>
<article><h1>The mill</h1>
<p>The mill by the river grinds the grain of nineteen farms, and has done so since the spring of 1931.</p>
<h2>Prices</h2>
<p>Members pay by the sack, and whoever is not a member pays half as much again; the table has the prices.</p>
<table><tr><th>Grain</th><th>Price</th></tr><tr><td>Rye</td><td>3 crowns für Mitglieder</td></tr></table>
<script>document.write("injected")</script>
<p>It rests in March, when the water stands too high, and the miller mends the sails of his boat instead.</p>
</article><footer>Copyright, imprint, cookies</footer></body></html>"""


def test_scripts_menus_and_footers_are_left_out_and_counted():
    item = one(read_html(PAGE.format(charset="utf-8").encode(), DEFAULT))
    assert item.title == "The mill"
    assert item.text.startswith("# The mill\n\nThe mill by the river") and "\n\n## Prices\n\nMembers" in item.text
    assert "| Rye | 3 crowns für Mitglieder |" in item.text and item.text.endswith("instead.")
    for absent in ("secret", "injected", "color", "Shop", "cookies", "<"):
        assert absent not in item.text
    assert not item.counts and not item.remarks
    assert item.left_out == {
        "scripts and styles": len("var secret = 1;") + len("p { color: red }") + len('document.write("injected")'),
        "menus and footers": len("HomeShopContact") + len("Copyright, imprint, cookies"),
    }


def test_html_says_its_encoding():
    item = one(read_html(PAGE.format(charset="iso-8859-1").encode("iso-8859-1"), DEFAULT))
    assert "für Mitglieder" in item.text and not item.remarks


CONTENT = [
    "<h1>Rules</h1><p>Be quiet.</p><ul><li>Key: Nora.</li><li>Fee: 38.</li></ul><p>Thanks.</p>",
    "<p>Long text.</p><table><tr><td>Rye</td><td>12</td></tr></table>After the table: Nora.",
    "<table><tr><td>Mon</td><td><ul><li>10 to 16</li><li>18 to 20</li></ul></td></tr></table>",
    "<details><summary>Dogs?</summary>Stay outside.</details><details open><summary>Cats?</summary>Too.</details>",
    "<dl><dt>Fee<dd>38 crowns<dt>Dogs?<dd>no<dd>never<dt>Alone</dl>",
    "<ol><li>one<ol><li>a<li>b</ol><li>two<p>more</p>rest</ol>",
    "<figure><img alt=x><figcaption>The wheel in 1931.</figcaption></figure><blockquote>It turns.</blockquote>",
    "loose text <b>bold</b><div>in a <span>div</span></div>tail<p>para<br>next line<br><br>last",
    "<table><caption>Prices</caption><tfoot><tr><td>sum</td></tr></tfoot></table>",
    "<table><tr><td><h2>Left</h2><p>One.</p></td><td><p>Two.</p></td></tr></table>",
    "<table><tr><td>Outer <table><tr><td>in</td><td>ner</td></tr></table> end</td></tr></table>",
    "<label>Name</label><button>Which dogs?</button><select><option>A<option>B</select><textarea>t\n x</textarea>",
    "<aside>Beware of the <a href=x>dog</a>, it is old.</aside><section><footer>By Nora, 1931.</footer></section>",
    "<footer><p>Open from 10 to 16.</p><p>Harbour 5, Ostrand</p></footer>",
    "<header><h1>Mill</h1><p>Since 1931</p></header><main><h3>Deep</h3><h6>Deeper</h6></main>",
    "<ul><li><a href=1>First paper</a></li><li><a href=2>Second paper</a></li></ul>",
    "<p>unclosed <div>in paragraph</p><td>stray cell<li>stray item</div><center>old</center><font>font</font>",
    "<p aria-hidden=true>seen</p><p hidden=until-found>found</p><x-card>custom <x-a>tag</x-a></x-card>",
    "<ul><li><table><tr><th>H</th><td>1</td></tr></table></li><li><pre>a\n  b</pre></li><li></li></ul>",
    "<h2>Title <small>small</small><br>two</h2><h2></h2><h2><div>block</div> title</h2><p></p>",
    "<dl><div><dt>A<dt>B</div><dd><ul><li>x</li></ul></dd></dl><dl><dt><p>P</p></dt><dd><p>q</p><p>r</p></dd></dl>",
    "<ul>text in list<li><p>one</p><p>two</p><ul><li>deep<dl><dt>T<dd>d</dl></ul></ul>",
    "<p>a<!-- b --></p>c<svg><text>drawn</text></svg> <math><mi>x</mi></math>",
]


@pytest.mark.parametrize("body", CONTENT)
def test_every_visible_word_comes_out_once_and_in_order(body):
    page = f"<html><body>{body}</body></html>"
    found = html_page(page)
    expected = visible_words(page)
    if "tfoot" not in body:  # a foot is shown below the body
        assert words(NUMBERS.sub("", found.text)) == expected
    assert sorted(words(NUMBERS.sub("", found.text))) == sorted(expected)
    assert not found.left_out.keys() - {"comments"}


@pytest.mark.parametrize(
    ("body", "markdown"),
    [
        ("<ul><li>1<ul><li>a<li>b<p>more</p></ul><li>2<br>line</ul>", "- 1\n  - a\n  - b\n    more\n- 2\n  line"),
        ("<ol start=3><li>c<li value=7>g<li>h</ol>", "3. c\n7. g\n8. h"),
        ("<ol type=a><li>x<li>y</ol><ol type=I><li>z</ol>", "- a. x\n- b. y\n\n- I. z"),
        ("<p>Before</p><ul><li>x</ul><p>After</p>", "Before\n\n- x\n\nAfter"),
        ("<dl><dt>Fee<dd>38<dt>Dogs?<dd>no<dt>Keys:<dd>Nora</dl>after", "Fee: 38\nDogs? no\nKeys: Nora\n\nafter"),
        ("<details><summary>Dogs?</summary>Outside.</details>", "Dogs?\nOutside."),
        (
            "<table><tr><th>Day<th colspan=2>Hours<tr><td rowspan=2>Mon<td>1<td>2<tr><td>3<td>4</table>",
            "| Day | Hours |  |\n| --- | --- | --- |\n| Mon | 1 | 2 |\n|  | 3 | 4 |",
        ),
        ("<table><tfoot><tr><td>sum<td>3<tbody><tr><td>x<td>3</table>", "| x | 3 |\n| --- | --- |\n| sum | 3 |"),
        ("<table><tr><td>a|b<td><ul><li>1<li>2</ul></table>", "| a\\|b | 1; 2 |\n| --- | --- |"),
        ("<pre>\n# no heading\n  two  spaces\n</pre>", "```\n# no heading\n  two  spaces\n```"),
        ("<pre>```\nx</pre>", "````\n```\nx\n````"),
        ("<p># no heading</p><p>a<br>``` b", "\\# no heading\n\na\n\\``` b"),
        ("10<sup>6</sup>, 1<sup>st</sup>, m<sup>2</sup>, e<sup>-x</sup>", "10⁶, 1st, m², e^(-x)"),
        ("a word<sup>[1]</sup>", "a word[1]"),
        ("H<sub>2</sub>O, log<sub>2</sub>8", "H2O, log₂8"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>", "漢(かん)"),
        ("<s>50</s> 38 <del>old</del> <q>yes</q>", "~~50~~ 38 ~~old~~ “yes”"),
        ("<p>caf&eacute;&nbsp;&amp; &#8217;x&lt;y&gt;", "café & ’x<y>"),
        ("<div role=heading aria-level=3>Deep</div><span style='display:block'>a</span>b", "### Deep\n\na\n\nb"),
        ("<input type=checkbox checked>done <input type=checkbox>open <input value=Nora><input type=hidden value=no>",
         "[x] done [ ] open Nora"),
    ],
)  # fmt: skip
def test_the_structure_is_markdown(body, markdown):
    assert text_of(body) == markdown


@pytest.mark.parametrize(
    ("body", "left_out"),
    [
        ("<p>x</p><p hidden>secret</p><div style='color:red; display: none'>secret</div>", {"hidden text": 12}),
        ("<p>x</p><dialog>secret</dialog><template><p>t</p></template>", {"hidden text": 6, "scripts and styles": 1}),
        ("<p>x</p><!-- secret --><noscript>enable it</noscript>", {"comments": 6, "text for other browsers": 9}),
        ("<p>x</p><video>no video</video><iframe>no frame</iframe>", {"text for other browsers": 16}),
        ("<h2>x<a class=headerlink href=#x>¶</a></h2>", {"menus and footers": 1}),
        ("<p>x</p><div class='side sidebar'><ul><li><a>One</a><li><a>Two</a></ul></div>", {"menus and footers": 6}),
        ("<p>x</p><div id=cookie-banner>We set cookies. <button>OK</button></div>", {"cookie banners": 17}),
        ("<p>x</p><div role=dialog>This site uses cookies</div>", {"cookie banners": 22}),
        ("<p>x</p><footer><p>© 2024 Mill</p><ul><li><a>Imprint</a></ul></footer>", {"menus and footers": 18}),
        ("<p>x</p><div class=footer>Copyright Mill</div>", {"menus and footers": 14}),
        ("<p>x</p><div role=navigation><a>Up</a></div>", {"menus and footers": 2}),
        ("<p>x\u00ad</p>", {"soft hyphens": 1}),
        (
            "x<table><tr><td class=linenos><pre>12</pre></td><td></td></tr></table>",
            {"line numbers": 2},
        ),
    ],
)
def test_what_is_no_content_is_counted_by_kind(body, left_out):
    found = html_page(f"<html><body>{body}</body></html>")
    assert found.text in ("x", "## x") and found.left_out == left_out and not found.whole


def test_a_menu_with_prose_is_no_menu():
    prose = "The mill is open from ten to four, except in March, when the water is high."
    for tag in ("nav", "footer", "aside", "div class=sidebar", "div class=cookies"):
        assert prose in text_of(f"<{tag}><p>{prose} <a href=x>More</a></p></{tag.split()[0]}>")


def test_a_page_of_nothing_but_a_menu_is_taken_whole_and_told():
    item = one(read_html(b"<html><body><nav><a href=k>Keys: Mara.</a></nav></body></html>", DEFAULT))
    assert (item.text, item.counts, item.left_out) == ("Keys: Mara.", {"whole_pages": 1}, {})
    assert item.remarks == ("no main text was recognized, so all of the page's text is used",)
    frames = one(read_html(b"<frameset><frame src=a><noframes><p>No frames.</p></noframes></frameset>", DEFAULT))
    assert frames.text == "No frames."


def test_text_behind_the_end_of_the_page_is_shown_by_browsers():
    assert html_page("<html><body><p>One.</p></body></html>Two.<p>Three.</p>").text == "One.\n\nTwo.\n\nThree."
    assert html_page("<p>no frame <b>at all").text == "no frame at all"


def test_xhtml_is_read_as_xml():
    page = (
        '<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE html PUBLIC "a" "b"><html '
        'xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x"/></head><body><p>café&nbsp;x<a id="q"/> '
        "<![CDATA[a < b]]> y &amp; z</p></body></html>"
    )
    item = one(read_xhtml(page.encode("iso-8859-1"), DEFAULT))
    assert item.text == "café x a < b y & z" and not item.remarks
    assert one(read_xhtml(b"<p>not <b>closed", DEFAULT)).text == "not closed"
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "bb"><!ENTITY c "&a;&a;">]><html><body>&c; ok</body></html>'
    assert "bbbb" not in one(read_xhtml(bomb, DEFAULT)).text


def test_html_that_is_too_deep_is_refused_rather_than_cut():
    with pytest.raises(Unreadable, match="nested too deeply"):
        list(read_html(b"<div>" * 10_000 + b"Lost.", DEFAULT))


def test_attributes_do_not_make_a_table_of_millions_of_cells():
    wide = "<tr>" + "<td colspan=1000 rowspan=60000>x</td><td>y</td></tr>" * 2_000
    start = time.process_time()
    text = text_of(f"<table>{wide}</table>")
    assert text.count("x") == 2_000 and len(text) < 1_000_000 and time.process_time() - start < 10


def test_time_grows_with_the_size_of_a_page_only():
    part = "<nav><a>x</a></nav><div class=footer><ul><li>1 <b>2</b><ul><li>x</ul></ul></div><table><td>a<td>b</table>"

    def seconds(times: int) -> float:
        start = time.process_time()
        text_of("<div>" * 50 + part * times)
        return time.process_time() - start

    seconds(10)
    assert seconds(4_000) < 12 * max(seconds(1_000), 0.05)
