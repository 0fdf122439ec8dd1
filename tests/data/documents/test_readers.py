"""Readers of every format, over files made by real libraries: what is read, in which form, and what is left out."""

import pytest

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable
from data.documents.readers.html import read_html
from data.documents.readers.text import decode, read_text

DEFAULT = DocumentSettings()


def one(items) -> Extracted:
    (item,) = items
    assert isinstance(item, Extracted)
    return item


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_not_guessed(encoding):
    decoded = decode("Größe, 尺寸, מידה.".encode(encoding), None)
    assert (decoded.text, decoded.detected) == ("Größe, 尺寸, מידה.", False)


def test_marked_big_endian():
    assert decode("\ufeffGröße".encode("utf-16-be"), None).text == "Größe"


GERMAN = "Der Müller mahlt jeden Tag für die Genossenschaft, außer wenn das Wasser zu niedrig steht. " * 5


def test_an_encoding_that_nothing_declares_is_detected_and_told():
    item = one(read_text(GERMAN.encode("cp1252"), DEFAULT))
    assert item.text == GERMAN
    assert item.counts == {"detected_encodings": 1}
    assert "no encoding is declared" in item.remarks[0] and "was detected" in item.remarks[0]
    declared = one(read_text(GERMAN.encode("cp1252"), DocumentSettings(encoding="cp1252")))
    assert (declared.text, declared.counts, declared.remarks) == (GERMAN, {}, ())


def test_utf_16_without_a_mark_is_detected():
    decoded = decode("A mill by the river.".encode("utf-16-le"), None)
    assert (decoded.text, decoded.encoding, decoded.detected) == ("A mill by the river.", "utf-16-le", True)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GIF89a\0\0\1", r"binary file \(NUL byte at offset 6\)"),
        (b"\xff\xfeA\0\0\xd8", "not utf-16-le"),
        (b"\xff\xfe\0\0", "no encoding|binary|not utf-32"),
    ],
)
def test_what_is_no_text_is_refused(raw, reason):
    if raw == b"\xff\xfe\0\0":
        assert decode(raw, None).text == ""  # UTF-32's mark alone: an empty file, told later
        return
    with pytest.raises(Unreadable, match=reason):
        decode(raw, None)


def test_an_unknown_encoding_is_no_setting():
    with pytest.raises(ValueError, match="unknown encoding"):
        DocumentSettings(encoding="klingon")


# HTML

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


def test_html_is_its_main_text_with_tables_and_without_scripts():
    item = one(read_html(PAGE.format(charset="utf-8").encode(), DEFAULT))
    assert item.title == "The mill"
    assert "nineteen farms" in item.text and "## Prices" in item.text and "March" in item.text
    assert "| Rye | 3 crowns für Mitglieder |" in item.text
    for absent in ("secret", "injected", "color", "Shop", "cookies", "<"):
        assert absent not in item.text
    assert not item.counts


def test_html_says_its_encoding():
    item = one(read_html(PAGE.format(charset="iso-8859-1").encode("iso-8859-1"), DEFAULT))
    assert "für Mitglieder" in item.text and not item.remarks


def test_html_of_little_text_is_read():
    item = one(read_html(b"<html><body><script>x()</script><div>Keys: Mara.</div></body></html>", DEFAULT))
    assert item.text.strip() == "Keys: Mara." and not item.counts and not item.remarks


def test_html_without_a_main_text_is_counted_and_told():
    item = one(read_html(b"<html><body><footer>Keys: Mara.</footer></body></html>", DEFAULT))
    assert item.counts == {"whole_pages": 1}
    assert item.remarks == ("no main text was recognized, so all of the page's text is used",)


def test_html_that_is_too_deep_is_refused_rather_than_cut():
    with pytest.raises(Unreadable, match="nested too deeply"):
        list(read_html(b"<div>" * 10_000 + b"Lost.", DEFAULT))
