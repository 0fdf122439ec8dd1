"""Sources of markup that mislead: marks of comments in code, block comments, drawers, grids, notes."""

from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_texts import Paragraphs


def source_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """Files of markup."""
    a, b = paragraphs.take(2)
    yield TrueFile(
        "code.tex",
        (
            "\\documentclass{article}\n\\begin{document}\n"
            f"{a}\\footnote{{A note at the foot.}}\n\n\\begin{{verbatim}}\nrate = 100 % of 7\n\\end{{verbatim}}\n"
            "\\begin{comment}\nNot printed: code 7741.\n\\end{comment}\n"
            f"It is 12\\% of it, see \\href{{https://example.org}}{{the list}}.%\n\n{b}\n"
            "\\end{document}\nAfter the end: 7742.\n"
        ).encode(),
        (a, "A note at the foot.", "rate = 100 % of 7", "It is 12% of it, see", "the list", b),
        (
            "\\documentclass{article}",
            "\\begin{document}",
            "\\end{document}",
            "\\begin{verbatim}",
            "\\end{verbatim}",
            "\\footnote",
            "\\href{https://example.org}",
            "https://example.org",
            "{",
            "}",
            ".",
        ),
        "a percent sign in code, a block of comment, text after the end",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "code.rst",
        f"""Sluice
------

.. _label:

{a}

..
   A block of comment: code 7741.

   It goes on.

.. image:: sluice.png
   :alt: the sluice

.. code-block:: sh

   # shown: it is code
   .. shown as well

:Keeper: Ines Okafor

+-------+-------+
| Berth | Price |
+=======+=======+
| A1    | 310   |
+-------+-------+

{b} See `the list <https://example.org>`_.
""".encode(),
        (
            "Sluice",
            a,
            "# shown: it is code",
            ".. shown as well",
            "Keeper: Ines Okafor",
            "Berth Price",
            "A1 310",
            b,
            "See the list",
        ),
        (
            ".. _label:",
            ".. image:: sluice.png",
            ":alt: the sluice",
            "the sluice",
            ".. code-block:: sh",
            "<https://example.org>_",
            "<https://example.org>",
            "https://example.org",
            "+-------+-------+",
            "+=======+=======+",
            "+",
            "=",
            "-",
            "sh",
            "_",
            ".",
            ":",
        ),
        "comments of several lines, marks of comments in code, a grid",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "code.adoc",
        f"""= Sluice
Ines Okafor

{a}

[source,sh]
----
// shown: it is code
valve --open 17
----

See https://example.org[the list] // not a comment here

{b}
""".encode(),
        (
            "Sluice",
            "Ines Okafor",
            a,
            "// shown: it is code",
            "valve --open 17",
            "the list",
            "// not a comment here",
            b,
        ),
        ("[source,sh]", "----", "See", "https://example.org", "[", "]", "=", "sh"),
        "marks of comments in code and in a line",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "code.org",
        f"""* Sluice
:PROPERTIES:
:ID: 7741
:END:
{a}

#+begin_src sh
# shown: it is code
valve --open 17
#+end_src

| Berth | Price |
|-------+-------|
| A1    | 310   |

# gone: a comment, code 7742
#+begin_comment
gone: code 7743
#+end_comment
{b} See [[https://example.org][the list]].
""".encode(),
        ("Sluice", a, "# shown: it is code", "valve --open 17", "Berth Price", "A1 310", b, "See", "the list"),
        (
            ":PROPERTIES:",
            ":ID: 7741",
            ":END:",
            "#+begin_src sh",
            "#+end_src",
            "[[https://example.org][",
            "https://example.org",
            "[",
            "]",
            ".",
            "sh",
            "-------+-------",
            "+",
            "-",
        ),
        "a drawer, marks of comments in code, a table, a link",
    )
