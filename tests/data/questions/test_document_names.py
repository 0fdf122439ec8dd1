"""Documents are found by every name that a person may use, and by none that means another one."""

import unicodedata

import pytest

from data.documents.documents import make_document
from data.questions.document_names import DocumentNames, fold_name

PATHS = (
    "Müller-Café.md",
    "handbook/Opening hours.md",
    "handbook/mill.md",
    "archive/mill.txt",
    "2024/report.pdf",
    "release 1.md",
    "table.csv#1",
    "table.csv#2",
    "README.md",
    "readme.txt",
    "deep/down/Straße.docx",
)


def found(name, paths=PATHS):
    documents = [make_document(path, "Text.", title=f"Title of {path}") for path in paths]
    return [document.path for document in DocumentNames(documents).find(name)]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("change", [str, str.lower, str.upper], ids=["as it is", "lower", "upper"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_unicode_form_and_case(form, change, stored):
    path = unicodedata.normalize(stored, "Müller-Café.md")
    for name in ("Müller-Café.md", "Müller-Café", "docs/Müller-Café.md", "Title of Müller-Café.md"):
        assert found(unicodedata.normalize(form, change(name)), [path, "other.md"]) == [path]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("handbook/Opening hours.md", "handbook/Opening hours.md"),
        ("Opening hours.md", "handbook/Opening hours.md"),
        ("Opening hours", "handbook/Opening hours.md"),
        ("./handbook/Opening hours.md", "handbook/Opening hours.md"),
        ("handbook\\Opening hours.md", "handbook/Opening hours.md"),
        ("C:\\docs\\handbook\\opening hours.md", "handbook/Opening hours.md"),
        ("/home/me/docs/handbook/Opening hours.md", "handbook/Opening hours.md"),
        ("file:///docs/handbook/Opening%20hours.md", "handbook/Opening hours.md"),
        ("handbook/Opening%20hours", "handbook/Opening hours.md"),
        ("opening_hours.md", "handbook/Opening hours.md"),
        ("Opening\u00a0hours.md", "handbook/Opening hours.md"),
        ("M%C3%BCller-Caf%C3%A9.md", "Müller-Café.md"),
        ("Müller\u2011Café", "Müller-Café.md"),
        ("Opening hours.pdf", "handbook/Opening hours.md"),
        ("docs/handbook/mill", "handbook/mill.md"),
        ("handbook/mill.pdf", "handbook/mill.md"),
        ("Title of release 1", "release 1.md"),
        ("TABLE.CSV#2", "table.csv#2"),
        ("README.md", "README.md"),
        ("deep/down/STRASSE", "deep/down/Straße.docx"),
        ("title of 2024/REPORT.pdf", "2024/report.pdf"),
    ],
)
def test_forms_of_a_name(name, path):
    assert found(name) == [path]


@pytest.mark.parametrize(
    "name", ["", " ", "/", "2023/report.pdf", "2023/report", "release 1.2", "hours", "mill.md/x", "%20", "table.csv#3"]
)
def test_another_name_finds_nothing(name):
    assert found(name) == []


def test_what_means_several_is_ambiguous():
    assert len(found("mill")) == len(found("MILL")) == len(found("table")) == 2


def test_an_exact_name_goes_before_a_similar_one():
    assert found("readme.txt") == ["readme.txt"] and found("README") == ["README.md"]
    assert found("Readme.TXT") == ["readme.txt"]
    assert len(found("ReadMe")) == 2


def test_a_folded_name_is_the_same_folded_again():
    for path in PATHS:
        assert fold_name(fold_name(path)) == fold_name(path)
