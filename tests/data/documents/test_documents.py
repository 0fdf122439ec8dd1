"""Documents: their ids and titles."""

import pytest

from data.documents.documents import make_document


def test_id_depends_on_path_and_text_only():
    document = make_document("a.md", "Text.")
    assert document.id == make_document("a.md", "Text.", "Another title").id
    assert len({document.id, make_document("b.md", "Text.").id, make_document("a.md", "Text!").id}) == 3


@pytest.mark.parametrize(
    ("path", "text", "title"),
    [
        ("x/stem.md", "No heading here.\n", "stem"),
        ("stem.md", "Text\n\n## Later ##\n", "Later"),
        ("stem.md", "Underlined\n=====\n\nText.", "Underlined"),
        ("stem.md", "```\n# a comment\n```\n", "stem"),
        ("stem.md", "---\nkey: value\n---\n\n# Real\n", "Real"),
        ("stem.txt", "THE ICE HOUSE\nfor apprentices\n\nIt is cold.", "THE ICE HOUSE"),
        ("stem.txt", "It is cold there.\n\nVery cold.", "stem"),
    ],
)
def test_title_is_the_first_heading_or_the_stem(path, text, title):
    assert make_document(path, text).title == title
