"""Markdown and MDX with their true text: comments, front matter, tables, notes, HTML inside.

Markup is part of a source. The truth is what the rendered page shows; comments of a source are not shown.
"""

from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs


def markdown_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """Files of Markdown."""
    a, b, c, d = paragraphs.take(4)
    yield TrueFile(
        "comments.md",
        f"""# Cold store

<!-- do not publish: the wage of Mr Olsen is 41,000 -->
{a}

{b} <!-- ask legal --> It is settled.

<!--
Draft of the next part:

{c[:60]}

It goes over several paragraphs.
-->

{d}
""".encode(),
        ("Cold store", a, f"{b} It is settled.", d),
        hard="comments in a line, over paragraphs",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "comments-shown.md",
        f"""# How comments are written

{a}

```html
<!-- this comment is the lesson -->
<p>Text</p>
```

Write `<!-- note -->` and no reader sees it.

    <!-- indented code is shown as well -->

{b}
""".encode(),
        (
            "How comments are written",
            a,
            "<!-- this comment is the lesson -->",
            "<p>Text</p>",
            "Write <!-- note --> and no reader sees it.",
            "<!-- indented code is shown as well -->",
            b,
        ),
        ("html",),
        "comments in code, which are shown",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "unclosed.md",
        f"# Unclosed\n\n{a}\n\nThe arrow <!-- points left; nothing closes it.\n\n{b}\n".encode(),
        ("Unclosed", a, b),
        ("The arrow <!-- points left; nothing closes it.",),
        "a comment that nothing closes must not swallow the rest",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "front-matter.md",
        f"""---
title: Harbour rules
tags: [harbour, rules]
---

Harbour rules
=============

{a}

Berths
------

* first item *with stress*
* second item
    1. nested one
    2. nested two

> {b}

- [x] done
- [ ] open

{c}
""".encode(),
        (
            "Harbour rules",
            a,
            "Berths",
            "first item with stress",
            "second item",
            "nested one",
            "nested two",
            b,
            "done",
            "open",
            c,
        ),
        ("title:", "Harbour rules", "tags: [harbour, rules]", "[x]", "[ ]"),
        "front matter, underlined headings, lists",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "tables.markdown",
        f"""## Prices

{a}

| Berth | Length | Price |
|-------|:------:|------:|
| A1    | 8 m    | 310   |
| B \\| C | 12 m | 495   |

Term
: {b}

See [the rules](https://example.org/rules "Rules") and ![a map](map.png), or <https://example.org>.[^1]

[^1]: {c}
""".encode(),
        (
            "Prices",
            a,
            "Berth Length Price",
            "A1 8 m 310",
            "B | C 12 m 495",
            "Term",
            b,
            "See the rules and",
            "https://example.org",
            c,
        ),
        ("a map", "Rules", "map.png", "https://example.org/rules", ", or", ".", "[^1]", "1", ":"),
        "tables, links, footnotes, definitions",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "html-inside.md",
        f"""# Mixed

<details>
<summary>Opening hours</summary>

{a}

</details>

Press <kbd>Ctrl</kbd> and <b>hold</b> it.<br>Then let go.

<table><tr><td>{b}</td><td>second cell</td></tr></table>

Both 3 < 4 and 5 > 4 hold, and so does `a<b>c`.

{c}
""".encode(),
        (
            "Mixed",
            "Opening hours",
            a,
            "Press Ctrl and hold it.",
            "Then let go.",
            b,
            "second cell",
            "Both 3 < 4 and 5 > 4 hold, and so does a<b>c.",
            c,
        ),
        (
            "<details>",
            "</details>",
            "<summary>",
            "</summary>",
            "<kbd>",
            "</kbd>",
            "<b>",
            "</b>",
            "<br>",
            "<table><tr><td>",
            "</td><td>",
            "</td></tr></table>",
        ),
        "HTML in Markdown",
    )
    yield TrueFile(
        "japanese.md",
        ("# 水車小屋\n\n" + "\n\n".join(FOREIGN["japanese"]) + "\n").encode(),
        ("水車小屋", *FOREIGN["japanese"]),
    )
    yield TrueFile(
        "swedish-cp1252.md",
        ("# Båthuset\n\n- " + "\n- ".join(FOREIGN["swedish"])).encode("cp1252"),
        ("Båthuset", *FOREIGN["swedish"]),
        hard="Markdown in cp1252",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "page.mdx",
        f"""import {{Chart}} from '../components/chart'

export const year = 2026

# Snowfall

{a}

{{/* internal: numbers are not final */}}

<Chart year={{2026}} color="#fcb32c" />

<Note>
  {b}
</Note>
""".encode(),
        ("Snowfall", a, b),
        (
            "import {Chart} from '../components/chart'",
            "export const year = 2026",
            '<Chart year={2026} color="#fcb32c" />',
            "<Note>",
            "</Note>",
        ),
        "imports, components and comments of MDX",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "comments-elsewhere.md",
        f"""+++
title = "Hidden facts"
+++
# Ferry <!-- old name: The Lark -->

[//]: # (a comment as a link: code 7741)
[comment]: <> (another one: code 7742)

- <!-- in a list: code 7743 --> {a}
- second <!-- one --> item <!-- two --> ends

| Berth <!-- cut --> | Price |
|---|---|
| A1 | 310 <!-- was 280 --> |

~~~~
``` <!-- shown, in a fence of waves -->
~~~~

Use ``a `<!-- b -->` c`` and see [the list][l].

{b}

[l]: https://example.org/list

   ```
   <!-- shown, the fence is indented -->
   ```

<!---->{c}<!--- three dashes --->
""".replace("\n", "\r\n").encode(),
        (
            "Ferry",
            a,
            "second item ends",
            "Berth Price",
            "A1 310",
            "<!-- shown, in a fence of waves -->",
            "Use a <!-- b --> c and see the list.",
            b,
            "<!-- shown, the fence is indented -->",
            c,
        ),
        (
            'title = "Hidden facts"',
            "+++",
            "[",
            "]",
            "[l]",
            "[l]: https://example.org/list",
            "https://example.org/list",
            ":",
        ),
        "comments in headings, lists and tables, comments written as links, fences of several kinds",
    )
