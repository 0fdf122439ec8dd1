"""The page of all files: trouble first, every name escaped, short also for 100,000 files."""

import re

from data.documents.accounts import FileAccount
from data.report.documents_page import ROWS, corpus_facts, documents_page, file_rows
from testing.tags import Tags

NASTY = '<script>alert("x")</script>&amp;{{ 7 * 7 }}'
FILES = [
    FileAccount("clean.md", "read", 1, 1_000),
    FileAccount("picture.png", "skipped", reason="unsupported file type (.png)"),
    FileAccount("little.html", "read", 1, 500, {"menus": 5}),
    FileAccount("much.html", "read", 1, 500, {"menus": 4_000, "comments": 300}, {"whole_pages": 1}),
    FileAccount("guessed.txt", "read", 1, 200, remarks=("no encoding is declared",)),
    FileAccount("rows.csv", "partly read", 40, 4_000, reason="#2: 1 cells", unread_parts=1_234),
    FileAccount("blank.md", "empty", reason="empty: write its text"),
    FileAccount(f"{NASTY}.PDF", "unreadable", reason=NASTY),
]


def page(files=FILES, name="run-1") -> str:
    return documents_page(name, corpus_facts(files), "artifacts/documents/abc/files.jsonl")


def test_trouble_comes_first_and_the_gravest_of_a_kind_before_the_others():
    text = page()
    places = [
        text.index(f"{name}</bdi>")
        for name in (
            ".PDF",
            "rows.csv",
            "blank.md",
            "much.html",
            "little.html",
            "guessed.txt",
            "picture.png",
            "clean.md",
        )
    ]
    assert places == sorted(places)


def test_the_totals_are_shown_and_the_complete_list_is_named():
    tags = Tags()
    tags.feed(page())
    assert not tags.open
    told = " ".join(re.sub("<[^>]*>", " ", page()).split())
    for words in ("8 files", "44 documents", "6,200 characters kept", "4,305 characters left out on purpose (41.0%)"):
        assert words in told, words
    for words in (
        "artifacts/documents/abc/files.jsonl",
        "menus 4,005",
        "left out: menus 4,000, comments 300",
        "changed: whole pages 1",
        "1,234 parts not read",
        "no encoding is declared",
        "#2: 1 cells",
        "1 file unreadable",
        "4 files read",
        ".html 2 2 2 1,000 4,305",
    ):
        assert words in told, words
    assert file_rows(corpus_facts(FILES)) == [
        ("files of the corpus", "8: 4 read, 1 skipped, 1 partly read, 1 empty, 1 unreadable"),
        ("characters of their texts", "6,200 kept, 4,305 left out on purpose (41.0%): menus 4,005, comments 300"),
    ]
    assert file_rows(corpus_facts(FILES[:1]))[1] == ("characters of their texts", "1,000 kept, none left out")


def test_every_text_is_escaped_and_nothing_is_fetched_or_run():
    nasty = FileAccount(f"{NASTY}\u202e.md", "read", 1, 5, {NASTY: 1}, {NASTY: 1}, (NASTY,), NASTY)
    text = page([nasty, *FILES], NASTY)
    tags = Tags()
    tags.feed(text)
    assert not tags.open and "script" not in tags.seen and "<script" not in text and ">49" not in text
    assert tags.text.count(NASTY) >= 8
    assert not re.search(r"https?://|src=|url\(|@import", text)
    assert f"<bdi>{'&lt;script&gt;'}" in text, "a name from right to left turns only itself"
    assert text == page([nasty, *FILES], NASTY)


def test_a_hundred_thousand_files_make_a_page_that_opens():
    files = [FileAccount(f"folder/{n:06}.md", "read", 1, 100) for n in range(99_000)]
    files += [FileAccount(f"{n:04}.pdf", "unreadable", reason="damaged PDF") for n in range(1_500)]
    files += [FileAccount(f"{n}.x{n}", "skipped", reason="unsupported") for n in range(100)]
    text = page(files)
    assert len(text) < 1_500_000
    assert f"and {99_000 - ROWS:,} more" in text and "and 500 more" in text and "more formats" in text
    assert "100,600" in text and text.count("<bdi>") == 2 * ROWS + 100


def test_a_corpus_of_clean_files_says_so():
    text = page(FILES[:1])
    assert "Left out on purpose" not in text and "(0.0%)" in text
