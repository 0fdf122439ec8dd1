"""Documents: their ids and titles."""

import pytest

from data.documents.documents import DocumentSettings, make_document


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


def test_the_password_is_written_to_no_file_and_told_by_no_error():
    settings = DocumentSettings(password=4711)  # as YAML reads it
    assert settings.passwords() == ("4711",) and DocumentSettings().passwords() == ()
    assert settings.model_dump(mode="json")["password"] is None and "4711" not in f"{settings!r}{settings}"
    assert DocumentSettings(**settings.model_dump()).passwords() == ("4711",)
    with pytest.raises(ValueError, match="password must be text") as caught:
        DocumentSettings(password=["4711"])
    assert caught.value.errors()[0]["loc"] == ()  # an error of the field would repeat it
