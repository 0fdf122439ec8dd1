"""reStructuredText, AsciiDoc, Org, LaTeX and notebooks with their true text.

The truth is what the rendered page shows; comments of a source are not shown.
"""

import json
from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_texts import Paragraphs


def markup_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """Files of markup."""
    yield from _other_markup(paragraphs)
    yield from _notebooks(paragraphs)


def _other_markup(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "guide.rst",
        f"""Guide
=====

.. internal: do not publish the door code 7741

{a}

.. note::

   {b}

* first point
* second point

Use ``valve --open`` and *wait*::

    valve --open 17

{c}
""".encode(),
        ("Guide", a, b, "first point", "second point", "Use valve --open and wait:", "valve --open 17", c),
        (".. note::", ":", "=====", "note"),
        "comments and directives of reStructuredText",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "guide.adoc",
        f"""= Guide for keepers
:toc:

// the door code is 7741
{a}

////
A block of comments
that nobody shall see.
////

== Second part

NOTE: {b}

* first point
** deeper point

|===
|Berth |Price
|A1 |310
|===

{c}
""".encode(),
        ("Guide for keepers", a, "Second part", b, "first point", "deeper point", "Berth", "Price", "A1", "310", c),
        (":toc:", "NOTE:", "===", "==", "="),
        "comments and tables of AsciiDoc",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "notes.org",
        f"""#+TITLE: Notes of the keeper
* First watch
{a}
# a comment: the door code is 7741
** TODO Second watch
- one item
- another item

#+BEGIN_SRC sh
valve --open 17
#+END_SRC

{b}

#+BEGIN_COMMENT
Not for print.
#+END_COMMENT

{c}
""".encode(),
        ("Notes of the keeper", "First watch", a, "Second watch", "one item", "another item", "valve --open 17", b, c),
        ("#+TITLE:", "TODO", "#+BEGIN_SRC sh", "#+END_SRC"),
        "comments and blocks of Org",
    )
    a, b, c = paragraphs.take(3)
    yield TrueFile(
        "paper.tex",
        (
            "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n% reviewers: the door code is 7741\n"
            f"\\title{{On salt marshes}}\n\\begin{{document}}\n\\maketitle\n\\section{{Growth}}\n{a}\n\n"
            f"{b} % check this\n\n\\begin{{itemize}}\n\\item first point\n\\item second point\n\\end{{itemize}}\n"
            f"It grew by 12\\% a year, \\emph{{almost}} twice as fast.\n\n{c}\n\\end{{document}}\n"
        ).encode(),
        (
            "On salt marshes",
            "Growth",
            a,
            b,
            "first point",
            "second point",
            c,
            "It grew by 12% a year, almost twice as fast.",
        ),
        (
            "\\documentclass{article}",
            "\\usepackage[utf8]{inputenc}",
            "\\begin{document}",
            "\\end{document}",
            "\\maketitle",
            "\\begin{itemize}",
            "\\end{itemize}",
            "\\item",
            "\\title",
            "\\section",
            "\\emph",
            "{",
            "}",
            "\\",
        ),
        "comments and commands of LaTeX",
    )


def _notebooks(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b = paragraphs.take(2)
    code = "rain = [12, 0, 7]\nprint(sum(rain))"
    picture = {"data": {"image/png": "iVBORw0KGgo" * 40, "text/plain": ["<Figure size 640x480>"]}, "metadata": {}}
    table = {"text/plain": ["   month  rain\n", "0  March    19"], "text/html": ["<table><tr><th></th><th>month</th>"]}
    table["text/html"] += ["<th>rain</th></tr><tr><td>0</td><td>March</td><td>19</td></tr></table>"]
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Rain\n", "\n", a]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "source": code.splitlines(keepends=True),
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["nineteen millimetres\n"]},
                {"output_type": "display_data", **picture},
                {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": table},
            ],
        },
        {"cell_type": "markdown", "metadata": {}, "source": f"{b}\n\n<!-- remove before release -->"},
    ]
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    yield TrueFile(
        "rain.ipynb",
        json.dumps(notebook, indent=1).encode(),
        ("Rain", a, "rain = [12, 0, 7]", "print(sum(rain))", "nineteen millimetres", "month rain", "0 March 19", b),
        ("python", "<Figure size 640x480>"),
        "cells, outputs and a picture",
    )
