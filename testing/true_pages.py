"""HTML pages with their true text: plain pages, articles with menus, documentation, definition lists, old layouts.

Menus, breadcrumbs, banners about cookies and copyright lines are optional; what else a browser draws is the truth.
"""

# ruff: noqa: E501  the lines of the files that it writes

from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

_MENU = ("Home", "Products", "About us", "Contact", "Log in", "Search", "Imprint", "© 2026 Harbour Works", "Cookies")
_FRAME = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>p {{ color: red }}</style><script>var secret = "door code 7741";</script></head><body>
<header><nav><a href="/">Home</a> <a href="/p">Products</a> <a href="/a">About us</a> <a href="/c">Contact</a></nav></header>
<main>{main}</main>
<footer><p><a href="/i">Imprint</a> © 2026 Harbour Works</p></footer></body></html>"""


def page_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """HTML files."""
    yield from _plain(paragraphs)
    yield from _articles(paragraphs)
    yield from _documentation(paragraphs)
    yield from _old(paragraphs)
    yield from _scripts_and_encodings(paragraphs)


def _plain(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "plain.html",
        f"<html><head><title>Rules</title></head><body><h1>Rules of the house</h1><p>{a}</p><ul><li>No smoking.</li>"
        f"<li>{b}</li><li>Keys on the hook.</li></ul><h2>Nights</h2><ol><li>Lock the gate.</li><li>{c}</li></ol>"
        "<p>Thank you.</p></body></html>".encode(),
        ("Rules of the house", a, "No smoking.", b, "Keys on the hook.", "Nights", "Lock the gate.", c, "Thank you."),
        ("Rules",),
        "a plain page: headings, lists, one short last line",
    )
    a, b = paragraphs.take(2)
    rows = (("Day", "Opens", "Closes"), ("Monday", "closed", "closed"), ("Tuesday", "10:00", "17:30"))
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    yield TrueFile(
        "table-and-tail.htm",
        f"<h1>Hours</h1><p>{a}</p><table>{cells}</table>Holidays differ.<p>{b}</p>".encode(),
        ("Hours", a, *(" ".join(row) for row in rows), "Holidays differ.", b),
        hard="bare text after a table, no html element",
    )
    items = tuple(f"{name}: {price} euros" for name, price in (("soup", 4), ("bread", 2), ("fish of the day", 14)))
    yield TrueFile(
        "only-a-list.html",
        ("<html><body><ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul></body></html>").encode(),
        items,
        hard="nothing but a list of short items",
    )
    yield TrueFile(
        "divs.html",
        b"<html><body><div>Night bell: 4471</div><div>Doctor on call: <span>Dr. Sandhu</span></div>"
        b"<div><div>Second floor</div><div>Room 212, then left</div></div><br>Ask at the desk<br>or ring twice."
        b"</body></html>",
        (
            "Night bell: 4471",
            "Doctor on call: Dr. Sandhu",
            "Second floor",
            "Room 212, then left",
            "Ask at the desk",
            "or ring twice.",
        ),
        hard="short lines in boxes, no paragraph",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "hidden.html",
        f"""<html><body><h1>Seen</h1><p>{a}</p><p hidden>Hidden by attribute: code 7741.</p>
<p style="display:none">Hidden by style: code 7742.</p><p style="visibility: hidden">Hidden again: code 7743.</p>
<template><p>A template: code 7744.</p></template><!-- a comment: code 7745 -->
<p>{b}</p><textarea>Text of a box</textarea><button>Send now</button></body></html>""".encode(),
        ("Seen", a, b, "Text of a box"),
        ("Send now",),
        "text that no browser shows",
    )


def _articles(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b, c, d = paragraphs.take(4)
    main = f"""<ol class="breadcrumb"><li>Home</li><li>News</li></ol><article><h1>A new loader</h1>
<p class="byline">By Ines Okafor, <time datetime="2026-03-09">9 March 2026</time></p><p>{a}</p>
<figure><img src="l.jpg" alt="a yellow loader"><figcaption>The loader on its first day.</figcaption></figure>
<blockquote><p>{b}</p></blockquote><h2>What it cost</h2><p>{c}</p><ul><li>two votes against</li><li>one abstained</li></ul>
</article><aside><h3>Opening hours</h3><p>{d}</p></aside>
<section class="related"><h3>Related</h3><a href="/1">An older loader</a></section>"""
    yield TrueFile(
        "article.html",
        _FRAME.format(title="A new loader - Harbour Works", main=main).encode(),
        (
            "A new loader",
            "By Ines Okafor, 9 March 2026",
            a,
            "The loader on its first day.",
            b,
            "What it cost",
            c,
            "two votes against",
            "one abstained",
            "Opening hours",
            d,
        ),
        (*_MENU, "News", "a yellow loader", "Related", "An older loader", "A new loader - Harbour Works"),
        "an article with menus, and a box with the opening hours beside it",
    )
    a, b = paragraphs.take(2)
    faq = "".join(
        f"<details><summary>{question}</summary><p>{answer}</p></details>"
        for question, answer in (("How do I get a key?", a), ("May I bring a dog?", "Yes, on a lead."), ("Parking?", b))
    )
    yield TrueFile(
        "faq.html",
        _FRAME.format(title="Questions", main=f"<h1>Questions</h1>{faq}").encode(),
        ("Questions", "How do I get a key?", a, "May I bring a dog?", "Yes, on a lead.", "Parking?", b),
        _MENU,
        "answers that fold",
    )
    a, b, c = paragraphs.take(3)
    thread = "".join(
        f'<div class="post"><div class="author">{who}</div><div class="text">{text}</div></div>'
        for who, text in (("mira", a), ("old_fitter", b), ("mira", "Thanks, that was it!"))
    )
    yield TrueFile(
        "forum.html",
        _FRAME.format(title="Pump hums", main=f"<h1>Pump hums</h1>{thread}<p>{c}</p>").encode(),
        ("Pump hums", "mira", a, "old_fitter", b, "mira", "Thanks, that was it!", c),
        _MENU,
        "a thread in boxes",
    )
    a, b = paragraphs.take(2)
    main = f"""<div class="cookie-banner"><p>We use cookies.</p><button>Accept</button></div><h1>Loader L-18</h1><p>{a}</p>
<dl><dt>Weight</dt><dd>4.2 t</dd><dt>Lift</dt><dd>1,900 kg to 3.1 m</dd><dt>Noise</dt><dd>{b}</dd></dl>
<p>Price: <del>21,000</del> <ins>18,400</ins> euros<sup>1</sup></p><p><small><sup>1</sup> without tax</small></p>"""
    yield TrueFile(
        "product.html",
        _FRAME.format(title="L-18", main=main).encode(),
        (
            "Loader L-18",
            a,
            "Weight",
            "4.2 t",
            "Lift",
            "1,900 kg to 3.1 m",
            "Noise",
            b,
            "18,400",
            "euros",
            "without tax",
            "Price:",
        ),
        (*_MENU, "We use cookies.", "Accept", "L-18", "21,000", "1", "^1", ":"),
        "a definition list, deleted and inserted prices",
    )


def _documentation(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b, c, d = paragraphs.take(4)
    main = f"""<h1>valve<a class="headerlink" href="#v">¶</a></h1><p>{a}</p>
<pre><code>valve --open 17 \\
    --timeout 30   # seconds
valve --close 17</code></pre>
<table><thead><tr><th>Option</th><th>Meaning</th></tr></thead><tbody>
<tr><td><code>--open N</code></td><td>opens valve N<ul><li>needs the key</li><li>waits for 1.8 bar</li></ul></td></tr>
<tr><td rowspan="2">--timeout</td><td>seconds, 30 if not given</td></tr><tr><td>0 waits for ever</td></tr></tbody></table>
<div class="admonition warning"><p class="admonition-title">Warning</p><p>{b}</p></div>
<h2>Exit codes</h2><dl><dt>0</dt><dd>done</dd><dt>3</dt><dd>{c}</dd></dl>
<details open><summary>History</summary><ul><li>2.1: added <code>--close</code><ul><li>and a test</li></ul></li></ul></details>
<p>{d} See <a href="pump.html">the pump</a>.</p>"""
    yield TrueFile(
        "reference.html",
        _FRAME.format(title="valve", main=main).encode(),
        (
            "valve",
            a,
            "valve --open 17 \\",
            "--timeout 30 # seconds",
            "valve --close 17",
            "Option Meaning",
            "--open N",
            "opens valve N",
            "needs the key",
            "waits for 1.8 bar",
            "--timeout",
            "seconds, 30 if not given",
            "0 waits for ever",
            "Warning",
            b,
            "Exit codes",
            "0",
            "done",
            "3",
            c,
            "History",
            "2.1: added --close",
            "and a test",
            f"{d} See the pump.",
        ),
        (*_MENU, "¶", "--timeout", ":", ";"),
        "code, lists in cells, spanned cells, a warning, exit codes",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "entities.xhtml",
        f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x"><html xmlns="http://www.w3.org/1999/xhtml"><head>
<title>Units</title></head><body><h1>Units &amp; signs</h1><p>{a}</p><p>Heat: 10<sup>6</sup>&#160;J; area 4&nbsp;m&#178;;
a &lt; b; caf&#xE9;; tempera&shy;ture; H<sub>2</sub>O; &euro;5</p><hr/><p>{b}</p></body></html>""".encode(),
        ("Units & signs", a, "Heat: 10^6 J; area 4 m²; a < b; café; temperature; H2O; €5", b),
        ("Units",),
        "entities, exponents, soft hyphens",
    )
    a, b, c = paragraphs.take(3)
    quoted = '<h1>Form 12</h1><form><label>Name <input value="A. Berg"></label><select><option>by post</option>'
    yield TrueFile(
        "form.html",
        f"""<html><body>{quoted}<option selected>by hand</option></select><fieldset><legend>Declaration</legend>
<p>{a}</p></fieldset></form><p>{b}</p><address>Quay 3<br>4471 Little Teague</address><p>{c}</p></body></html>""".encode(),
        ("Form 12", "Name", "by hand", "Declaration", a, b, "Quay 3", "4471 Little Teague", c),
        ("A. Berg", "by post"),
        "a form and an address",
    )


def _old(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "layout-table.htm",
        f"""<HTML><HEAD><TITLE>Old page</TITLE></HEAD><BODY BGCOLOR=white><TABLE WIDTH=100%><TR><TD WIDTH=120>
<A HREF=/>Home</A><BR><A HREF=/c>Contact</A></TD><TD><FONT SIZE=5>Welcome to the mill</FONT><P>{a}<P>{b}
<CENTER><B>Tours: Sundays at 3</B></CENTER></TD></TR></TABLE><HR>{c}</BODY></HTML>""".encode(),
        ("Welcome to the mill", a, b, "Tours: Sundays at 3", c),
        (*_MENU, "Old page"),
        "a page laid out by a table, paragraphs that nothing closes",
    )
    curly = FOREIGN["english_curly"]
    yield TrueFile(
        "says-latin-1.html",
        (
            '<html><head><meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"><title>Mill</title>'
            f"</head><body><h1>The mill</h1><p>{curly[0]}</p><p>{curly[1]}</p></body></html>"
        ).encode("cp1252"),
        ("The mill", *curly),
        ("Mill",),
        "cp1252 that says latin-1",
    )
    a = paragraphs.take()[0]
    letters = "".join(f"<p>{text}</p>" for text in (*FOREIGN["portuguese"], *FOREIGN["danish"]))
    yield TrueFile(
        "undeclared.html",
        f"<html><body><h1>Cartas</h1>{letters}</body></html>".encode("cp1252"),
        ("Cartas", *FOREIGN["portuguese"], *FOREIGN["danish"]),
        hard="cp1252 that nothing declares",
    )


def _scripts_and_encodings(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    for language, encoding in (("russian", "windows-1251"), ("japanese", "shift_jis"), ("polish", "iso-8859-2")):
        texts = tuple(text for text in FOREIGN[language] if _fits(text, encoding))
        page = "".join(f"<p>{text}</p>" for text in texts)
        yield TrueFile(
            f"declared-{language}.html",
            f'<html><head><meta charset="{encoding}"><title>x</title></head><body>{page}</body></html>'.encode(
                encoding
            ),
            texts,
            ("x",),
            f"{encoding}, declared",
        )
    for language in ("hebrew", "arabic", "thai", "chinese"):
        texts = FOREIGN[language]
        page = "".join(f"<p>{text}</p>" for text in texts)
        name = texts[0][:12].strip()
        yield TrueFile(
            f"{language}.html",
            f'<html dir="auto"><head><meta charset="utf-8"></head><body><h1>{name}</h1>{page}</body></html>'.encode(),
            (name, *texts),
            hard="a short page",
        )
    a, b = paragraphs.take(2)
    ruby = "<p><ruby>水車<rt>すいしゃ</rt></ruby>小屋は三月に休む。</p>"
    yield TrueFile(
        "ruby.html",
        f'<html><head><meta charset="utf-8"></head><body><p>{a}</p>{ruby}<p>{b}</p></body></html>'.encode(),
        (a, "水車", "小屋は三月に休む。", b),
        ("すいしゃ", "(", ")", "（", "）"),
        "ruby",
    )


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
