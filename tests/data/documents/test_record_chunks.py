"""Chunks of records, tables and logs: whole where they fit, and else with what they belong to."""

import pytest

from data.documents.chunks import Chunk, ChunkSettings, chunk_document
from data.documents.documents import make_document
from data.prompting.prompts import heading, raft_prompt
from data.prompting.quoting import quote_grammar


def count_words(texts):
    return [len(text.split()) for text in texts]


def chunks_of(text: str, path: str = "p1.md", title: str | None = None, **settings) -> list[Chunk]:
    chunks = chunk_document(make_document(path, text, title), count_words, ChunkSettings(**settings))
    assert all(len(chunk.text.split()) <= ChunkSettings(**settings).max_tokens for chunk in chunks)
    return chunks


def card(name: str, fields: int, words: int = 2) -> str:
    lines = [f"field {n}: {' '.join(f'{name}{n}{w}' for w in range(words))}" for n in range(fields)]
    return "\n".join([f"name: {name}", *lines])


@pytest.mark.parametrize("between", ["\n\n", "\n"])
def test_a_record_that_fits_is_whole_in_one_chunk(between):
    """Also without blank lines: a record reaches to the next line with the key of the first."""
    records = [card(name, fields) for name, fields in zip("abcdefgh", (2, 3, 1, 4, 2, 5, 6, 1), strict=True)]
    chunks = chunks_of(between.join(records), max_tokens=30)
    for record in records:
        assert len(record.split()) <= 30
        assert sum(record in chunk.text for chunk in chunks) == 1
    assert chunks[0].text == between.join(records[:3]), "neighbours that fit are joined"
    assert not any(chunk.belongs_to for chunk in chunks)


def test_blank_lines_inside_records_do_not_end_them():
    records = [f"name: {name}\ncall: {name}()\n\nSome words on {name}.\n\nlimit: 5\nowner: x" for name in "abcd"]
    chunks = chunks_of("\n\n".join(records), max_tokens=18)
    assert [chunk.text for chunk in chunks] == records


def test_a_record_that_does_not_fit_is_cut_between_its_lines_and_joins_no_other():
    short, long, after = card("a", 2), card("b", 12), card("c", 2)
    chunks = chunks_of(f"{short}\n\n{long}\n\n{after}", max_tokens=24)
    assert chunks[0].text == short and chunks[-1].text == after
    middle = chunks[1:-1]
    assert len(middle) == 3 and "\n".join(chunk.text for chunk in middle) == long
    assert [chunk.belongs_to for chunk in middle] == [(), *[("name: b", "field 0: b00 b01")] * 2]
    assert middle[1].search_text == f"name: b\nfield 0: b00 b01\n{middle[1].text}"
    assert middle[1].text == long[middle[1].start - middle[0].start :][: len(middle[1].text)], "no part of the text"


def test_what_names_a_record_comes_first_whatever_its_place_and_all_has_a_bound():
    lines = [f"remark {n}: {'very ' * 6}good" for n in range(4)]
    text = "\n".join([*lines, "product id: QX-17", *(f"field {n}: value {n}" for n in range(30))])
    for most in (16, 40, 80):
        for chunk in chunks_of(text, max_tokens=most):
            assert sum(count_words(chunk.belongs_to)) <= max(8, most // 8)
            assert sum(count_words(chunk.fields)) <= max(8, most // 4)
            assert (chunk.start > text.index("QX-17")) == ("product id: QX-17" in chunk.belongs_to)


def test_bm25_reads_more_of_the_fields_than_the_embedder():
    """With more of them embedded, the parts of a record become alike."""
    chunk = chunks_of(card("winch", 40), max_tokens=96)[1]
    assert chunk.belongs_to[0] == "name: winch" and "field 4: winch40 winch41" in chunk.fields
    assert not set(chunk.fields) & set(chunk.belongs_to) and "winch41" not in chunk.search_text
    assert chunk.keyword_text.endswith(chunk.search_text) and "field 4: winch40 winch41" in chunk.keyword_text


def test_a_line_that_does_not_fit_keeps_its_key():
    text = "name: press\n" + "parts: " + ", ".join(f"part {n}" for n in range(30)) + "\nowner: Ada"
    chunks = chunks_of(text, max_tokens=20)
    assert [chunk.belongs_to for chunk in chunks] == [(), *[("name: press", "parts:")] * 3]
    assert chunks[0].text.startswith("name: press\nparts: part 0, part 1,"), "no chunk of the first line alone"
    assert all(chunk.text.endswith((",", "Ada")) for chunk in chunks), "cut after a comma"


def test_rows_come_with_their_header_row_and_long_ones_with_their_first_cell():
    rows = "\n".join(f"| boat {n} | {n} crowns |" for n in range(12))
    text = f"# Fees\n\n| vessel | fee |\n| --- | --- |\n{rows}"
    chunks = chunks_of(text, max_tokens=28)
    assert len(chunks) > 2 and chunks[0].belongs_to == ()
    assert {chunk.belongs_to for chunk in chunks[1:]} == {("vessel | fee",)}
    assert all(chunk.text.startswith("| boat") and chunk.text.endswith("|") for chunk in chunks[1:]), "whole rows"
    assert chunks[1].search_text.startswith("Fees\nvessel | fee\n| boat")
    long = f"| who | rule |\n| --- | --- |\n| the skipper | {'One rule more. ' * 12}|"
    assert chunks_of(long, max_tokens=28)[-1].belongs_to == ("who | rule", "the skipper")


def test_entries_of_a_log_are_whole_with_the_lines_that_go_on():
    entries = [f"2026-03-01 12:00:0{n} ERROR it stopped\n  at gate {n}\n  at pier" for n in range(8)]
    for chunk in chunks_of("\n".join(entries), "a.txt", max_tokens=25):
        assert chunk.text == "\n".join(entry for entry in entries if entry in chunk.text)
        assert chunk.heading_path == (), "the first entry is no title"


def test_the_first_field_of_a_record_in_plain_text_is_no_heading():
    (chunk,) = chunks_of("Domain: Turning\nMachine: lathe\n\nCall: lathe()\n\nOwner: Ada", "p.txt")
    assert chunk.heading_path == ()
    assert chunks_of("The mill\nIt grinds.", "p.txt")[0].heading_path == ("The mill",)


def test_what_follows_a_record_belongs_to_it():
    text = "---\ntitle: The winch\nlayout: page\n---\n\n" + "It turns. " * 20 + "\n\n## Oil\n\n" + "Each day. " * 20
    chunks = chunks_of(text, max_tokens=24)
    assert chunks[0].belongs_to == () and {chunk.belongs_to for chunk in chunks[-2:]} == {("title: The winch",)}
    assert all("title: The winch" in chunk.belongs_to for chunk in chunks[1:])


@pytest.mark.parametrize(
    ("path", "title", "text", "names"),
    [
        ("gear-press.txt", None, "domain: Pressing\nforce: 12", ["gear-press"]),
        ("scan_0017.pdf", None, "It opened in 1931, and closed.", [""]),
        ("17.md", "Super Bowl", "It was played.", ["Super Bowl"]),
        ("mill_rules.md", None, "# The mill\n\nText.\n\n## Fees\n\nMore.", ["", ""]),
        ("mill_rules.md", None, "# Use\n\nText.\n\n# Fees\n\nMore.", ["mill rules", "mill rules"]),
        ("mill_rules.md", "Rules", "# Use\n\nText.", ["Rules"]),
        ("fees.md", None, "# Use\n\nText.\n\n# Fees\n\nMore.", ["fees", ""]),
        ("北京.txt", None, "长城在北京北部。", ["北京"]),
    ],
)
def test_the_title_of_the_document_is_searched_where_no_heading_says_it(path, title, text, names):
    chunks = chunks_of(text, path, title)
    assert [chunk.title for chunk in chunks] == names
    for chunk in chunks:
        assert not chunk.title or chunk.search_text.startswith(chunk.title)
    assert not any(chunk.title for chunk in chunks_of(text, path, title, heading_path=False))


def test_prompts_show_what_a_chunk_belongs_to_and_it_cannot_be_quoted():
    chunk = chunks_of(card("winch", 12), "gear-press.txt", max_tokens=24)[1]
    assert heading(chunk) == "gear-press > name: winch > field 0: winch00 winch01"
    assert f"[1] {heading(chunk)}\n{chunk.text}" in raft_prompt([chunk], "What?").input
    grammar = quote_grammar([chunk])
    assert grammar is not None and "name: winch" not in grammar and chunk.text.split("\n")[0] in grammar


def test_without_the_setting_nothing_is_put_before_the_text():
    for chunk in chunks_of(card("winch", 12), "gear-press.txt", max_tokens=24, heading_path=False):
        assert (chunk.title, chunk.belongs_to, chunk.search_text) == ("", (), chunk.text)
