"""HTML as programs write it: a wiki, generated documentation, a newsletter, exports of Word and Google Docs."""

# ruff: noqa: E501  the lines of the files that it writes

from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_texts import Paragraphs


def site_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """HTML files."""
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "wiki.html",
        f"""<!DOCTYPE html><html><head><meta charset="utf-8"><title>Ostrand - Wiki</title></head><body class="mediawiki">
<div id="mw-page-base"></div><div id="content" class="mw-body"><h1 id="firstHeading">Ostrand</h1><div id="bodyContent">
<div class="hatnote">For the lake, see <a href="x">Ostrand Lake</a>.</div><table class="infobox"><tr><th colspan="2">Ostrand</th></tr>
<tr><th>Founded</th><td>1764</td></tr><tr><th>Hearths</th><td>212</td></tr></table><p><b>Ostrand</b> is a port.<sup class="reference"><a
href="#n1">[1]</a></sup> {a}</p><div id="toc" class="toc"><h2>Contents</h2><ul><li><a href="#h">1 History</a></li></ul></div>
<h2><span id="h">History</span><span class="mw-editsection">[<a href="e">edit</a>]</span></h2><p>{b}</p><div class="thumb"><div
class="thumbcaption">The mill in 1931</div></div><h2>References</h2><ol class="references"><li id="n1">{c}</li></ol></div></div>
<div id="mw-navigation"><ul><li><a href="m">Main page</a></li><li><a href="r">Random article</a></li></ul></div>
<div id="footer">Last edited in March.</div></body></html>""".encode(),
        (
            "Ostrand",
            "For the lake, see Ostrand Lake.",
            "Founded 1764",
            "Hearths 212",
            f"Ostrand is a port.[1] {a}",
            "History",
            b,
            "The mill in 1931",
            "References",
            c,
        ),
        (
            "Ostrand",
            "Contents",
            "1 History",
            "History",
            "[edit]",
            "[",
            "]",
            "edit",
            "Main page",
            "Random article",
            "Last edited in March.",
            "Ostrand - Wiki",
            "1",
            "^",
        ),
        "a wiki: a box of facts, a hint, references, links to edit",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "generated.html",
        f"""<!DOCTYPE html><html><head><title>valves</title></head><body><div class="document"><div class="body" role="main">
<section id="m"><h1>valves<a class="headerlink" href="#m">¶</a></h1><p>{a}</p><dl class="py function"><dt class="sig"><code>valves.open(</code>
<em>number</em>, <em>timeout=30</em>)</dt><dd><p>{b}</p><dl class="field-list"><dt>Parameters:</dt><dd><ul><li><p><strong>number</strong> – of
the valve</p></li><li><p><strong>timeout</strong> – in seconds</p></li></ul></dd><dt>Raises:</dt><dd><p>ValueError – no such valve</p></dd></dl>
</dd></dl><div class="highlight"><pre><span></span><span class="gp">&gt;&gt;&gt; </span>valves.open(<span class="mi">17</span>)
<span class="go">True</span>
</pre></div><p class="admonition-title">Note</p><p>{c}</p></section></div></div><div class="sphinxsidebar" role="navigation"><h3>Navigation</h3>
<ul><li><a href="i">index</a></li></ul></div><div class="footer">© 2026 Harbour Works</div></body></html>""".encode(),
        (
            "valves",
            a,
            "number, timeout=30)",
            b,
            "Parameters:",
            "number – of the valve",
            "timeout – in seconds",
            "Raises:",
            "ValueError – no such valve",
            ">>> valves.open(17)",
            "True",
            "Note",
            c,
        ),
        ("valves.open(", "¶", "Navigation", "index", "© 2026 Harbour Works", ":", "valves"),
        "documentation that a program wrote",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "newsletter.html",
        f"""<html><body style="margin:0"><div style="display:none;max-height:0;overflow:hidden">preview text: code 7741</div><table width="100%"
cellpadding="0"><tr><td align="center"><table width="600"><tr><td>&nbsp;</td></tr><tr><td style="font-size:24px">News from the quay</td></tr>
<tr><td><p>{a}</p></td></tr><tr><td><table><tr><td width="50%">Left: new buoys</td><td width="50%">Right: old fees</td></tr></table></td></tr>
<tr><td><a href="u">{b}</a></td></tr><tr><td style="font-size:10px">You get this letter as a member.</td></tr></table></td></tr></table></body></html>""".encode(),
        ("News from the quay", a, "Left: new buoys", "Right: old fees", b, "You get this letter as a member."),
        hard="tables in tables as a layout, a hidden preview",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "word-export.htm",
        f"""<html xmlns:o="urn:schemas-microsoft-com:office:office" xmlns:w="urn:schemas-microsoft-com:office:word"><head><meta http-equiv=Content-Type
content="text/html; charset=windows-1252"><!--[if gte mso 9]><xml><w:WordDocument><w:View>code 7741</w:View></w:WordDocument></xml><![endif]-->
<style><!-- p.MsoNormal {{margin:0cm}} --></style></head><body lang=EN-GB><div class=WordSection1><p class=MsoTitle>Standing orders<o:p></o:p></p>
<p class=MsoNormal>{a}<o:p>&nbsp;</o:p></p><p class=MsoListParagraph style='text-indent:-18.0pt'><![if !supportLists]><span>1.<span
style='font:7.0pt "Times New Roman"'>&nbsp;&nbsp;&nbsp; </span></span><![endif]>Lock the “north” gate – twice.</p><p class=MsoNormal>{b}
<span style='mso-spacerun:yes'>  </span>That is all.</p></div></body></html>""".encode("cp1252"),
        ("Standing orders", a, "Lock the “north” gate – twice.", f"{b} That is all."),
        ("1.",),
        "what Word writes",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "docs-export.html",
        f"""<html><head><meta content="text/html; charset=UTF-8" http-equiv="content-type"><style>.c1{{font-weight:700}}</style></head><body class="c9">
<p class="c3 title"><span class="c1">Minutes</span></p><h2 class="c4"><span>Pre</span><span>sent</span></h2><ul class="lst-kix_a-0 start"><li><span>Ines</span></li>
<li><span>Tom, from </span><span class="c1">nine</span><span> o&rsquo;clock</span></li></ul><ul class="lst-kix_a-1 start"><li><span>his dog</span></li></ul>
<p class="c3"><span>{a}</span><sup><a href="#f1" id="r1">[1]</a></sup></p><p class="c3 c7"><span></span></p><table class="c5"><tbody><tr><td><p><span>Item</span></p>
</td><td><p><span>Vote</span></p></td></tr><tr><td><p><span>Loader</span></p></td><td><p><span>7 to 2</span></p></td></tr></tbody></table><p><span>{b}</span></p>
<hr><div><p><a href="#r1" id="f1">[1]</a><span>&nbsp;{c}</span></p></div></body></html>""".encode(),
        ("Minutes", "Present", "Ines", "Tom, from nine o’clock", "his dog", a, "Item Vote", "Loader 7 to 2", b, c),
        ("[1]", "^[1]"),
        "what Google Docs writes",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "recipe.html",
        f"""<html><body><div class="wprm-recipe"><button>Jump to recipe</button><h1>Soup of ceps</h1><div class="rating">4.8 from 31 votes</div><p>{a}</p>
<h3>Ingredients</h3><ul class="ingredients"><li><span class="amount">40</span> <span class="unit">g</span> <span class="name">dried ceps</span></li><li><span
class="amount">1</span> <span class="unit">l</span> <span class="name">stock</span></li><li><label><input type="checkbox"> one stale roll</label></li></ul>
<h3>Steps</h3><ol class="steps"><li><div><span>{b}</span></div></li><li>Serve hot.</li></ol><table><tr><th scope="row">Energy</th><td>120 kcal</td></tr>
<tr><th scope="row">Salt</th><td>1.2 g</td></tr></table><div class="comments"><p class="c">I added cream. Lovely!</p></div></div></body></html>""".encode(),
        (
            "Soup of ceps",
            "4.8 from 31 votes",
            a,
            "Ingredients",
            "40 g dried ceps",
            "1 l stock",
            "one stale roll",
            "Steps",
            b,
            "Serve hot.",
            "Energy 120 kcal",
            "Salt 1.2 g",
        ),
        ("Jump to recipe", "[ ]", "I added cream. Lovely!"),
        "amounts in spans, boxes to tick, heads of rows",
    )
    a, b = paragraphs.take(2)
    plain = f"    Chapter 1\n\n  {a[:60]}\n  {a[60:].lstrip()}\n\n\n  A  table   of\n  old        kind\n\n  {b}\n"
    yield TrueFile(
        "only-pre.html",
        f"<html><head><title>RFC</title></head><body><pre>{plain}</pre></body></html>".encode(),
        (
            "Chapter 1",
            f"{a[:60]} {a[60:].lstrip()}" if a[59] == " " or a[60] == " " else f"{a[:60]} {a[60:]}",
            "A table of",
            "old kind",
            b,
        ),
        ("RFC",),
        "a page of preformatted text",
    )
