"""Markdown: what no rendering shows is left out and counted; in listings and inline code it is text."""

import time

import pytest

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted
from data.documents.readers.markdown import read_markdown, read_mdx, without_comments

DEFAULT = DocumentSettings()


def read(text: str, reader=read_markdown) -> Extracted:
    (item,) = reader(text.encode(), DEFAULT)
    assert isinstance(item, Extracted)
    return item


@pytest.mark.parametrize(
    ("text", "kept", "left_out"),
    [
        ("# A\n\nCloses 21:40.<!-- ask Bo -->\n", "# A\n\nCloses 21:40.\n", 6),
        ("A <!-- b --> c <!-- d -->\nE", "A c\nE", 2),
        ("A\n\n<!-- one\n\ntwo -->\n\nB\n", "A\n\nB\n", 8),
        ("A\n<!-- x -->\nB", "A\nB", 1),
        ("<!-- first -->\n\n# A", "# A", 5),
        ("<!-- a --><!-- b -->C<!---->D<!-->E<!--->F", "CDEF", 2),
        ("- item <!-- in a\n  list --> goes on\n- two", "- item goes on\n- two", 11),
        ("> quoted <!-- x -->\n| a | b<!-- y --> |", "> quoted\n| a | b |", 2),
        ("`` ` `` <!-- a -->`b`", "`` ` `` `b`", 1),
        ("A ` b <!-- c -->\n\n` d", "A ` b\n\n` d", 1),  # code does not go over a blank line
        ("Wide ` \n```sh\necho `x`\n```\n<!-- a -->", "Wide ` \n```sh\necho `x`\n```\n", 1),
        ("[//]: # (do not publish)\n[comment]: <> (nor this)\n\nA\n[a]: http://x \"y\"", "A\n[a]: http://x \"y\"", 22),
        ("[//]: # 'x'\n[x]: # \"y\"", "", 2),
        ("---\ntitle: <!-- kept -->\n---\n<!-- a -->\nB", "---\ntitle: <!-- kept -->\n---\nB", 1),
        ("A\r\n\r\n<!-- b -->\r\n\r\nC", "A\n\nC", 1),
    ],
)  # fmt: skip
def test_comments_are_left_out(text, kept, left_out):
    item = read(text)
    assert item.text == kept
    assert item.left_out == {"comments": left_out} and not item.remarks


@pytest.mark.parametrize(
    "text",
    [
        "```html\n<!-- shown -->\n```\n",
        "~~~~\n```\n<!-- shown -->\n~~~\n<!-- too -->\n~~~~\n",
        "- a\n\n  ```\n  <!-- shown -->\n  ```\n",
        "> ```\n> <!-- shown -->\n> ```\n",
        "Use `<!-- shown -->` or ``a ` <!-- b -->`` here.",
        "`two\nlines <!-- shown -->`",
        "A\n\n    <!-- an indented listing -->\n\n    more <!-- of it -->\n",
        "\\<!-- escaped -->",
        "A line <!-- that is never closed\n\nand goes on.",
        "5 < 6 and --> an arrow [x]: y",
        "[a]: https://example.org 'title'\n",
    ],
)
def test_what_a_rendering_shows_stays(text):
    item = read(text)
    assert item.text == text and not item.left_out


def test_a_comment_is_not_hidden_by_a_list():
    item = read("- a\n\n    <!-- in the item -->\n\n    text")
    assert "item" not in item.text and "text" in item.text and item.left_out == {"comments": 11}


def test_a_comment_that_is_never_closed_hides_the_rest_as_in_a_rendering_and_is_told():
    item = read("A\n\n<!-- draft\n\nB\n")
    assert item.text == "A\n\n" and item.left_out == {"comments": 13}
    assert item.remarks == ("a comment is never closed, so all text after it is left out: close it with -->",)


def test_scripts_and_styles_are_left_out():
    item = read("A\n\n<script>\nlet x = 1;\n\n</script>\n<style>p {}</style>\n\n`<script>` B\n")
    assert item.text == "A\n\n`<script>` B\n"
    assert item.left_out == {
        "scripts and styles": len("<script>\nlet x = 1;\n\n</script>") + len("<style>p {}</style>")
    }


def test_mdx_has_imports_and_comments_of_its_own():
    text = (
        "import A from './a'\nexport const meta = {\n  title: 'x'\n}\n\n# A\n\n"
        "import duties rise {/* draft */}here.\n\n"
        "`{/* shown */}`\n\n```js\nimport x from 'y'\n```\n"
    )
    item = read(text, read_mdx)
    assert item.text == "# A\n\nimport duties rise here.\n\n`{/* shown */}`\n\n```js\nimport x from 'y'\n```\n"
    assert item.left_out == {"imports and exports": 56, "comments": 5}
    assert read(text).text == text  # in Markdown it is text


def test_time_grows_with_the_length_only():
    for part in (
        "a ` b `` c ``` <!-- ",
        "<!-- a --> ",
        "[//]: # (a)\n",
        "`" * 50 + " ",
        "<!-- a\n",
        "[" * 30 + "\n",
        " \n>\n",
    ):
        start = time.process_time()
        without_comments(part * 20_000)
        assert time.process_time() - start < 5, part
