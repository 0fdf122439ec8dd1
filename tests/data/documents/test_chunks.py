"""Chunks: nothing lost, nothing too long, cut where a reader would cut."""

import random
from itertools import pairwise

import pytest
from pydantic import ValidationError

from data.documents.chunks import ChunkSettings, chunk_document, chunk_documents
from data.documents.corpus import read_documents
from data.documents.documents import make_document
from data.text.sentences import sentence_spans


def count_words(texts):
    return [len(text.split()) for text in texts]


def count_characters(texts):
    return [len(text) for text in texts]


def texts_of(text, path="a.md", count=count_words, **settings):
    return [c.text for c in chunk_document(make_document(path, text), count, ChunkSettings(**settings))]


def words(n, name="w"):
    return " ".join(f"{name}{i}" for i in range(n)).capitalize() + "."


def random_text(rng: random.Random) -> str:
    """Text of headings, prose, lists, fences and very long words in random order, with stray white space."""
    parts = [
        rng.choice(
            [
                "#" * rng.randint(1, 4) + " Heading of some kind",
                "Underlined\n" + rng.choice("=-") * 5,
                " ".join(words(rng.randint(1, 30)) for _ in range(rng.randint(1, 5))),
                "\n".join(f"- item {i} is {words(rng.randint(1, 9))}" for i in range(rng.randint(1, 6))),
                "```\n# no heading\n\ncode\n```",
                "x" * rng.randint(1, 400),
                "\n".join(f"key {i}: {words(rng.randint(1, 30))}" for i in range(rng.randint(2, 6))),
                "\n".join(f"name: {words(rng.randint(1, 20))}\n  note = a, b" for _ in range(rng.randint(2, 4))),
                "\n".join(f"2026-03-0{i} 12:00 {words(9)}\n  at a place" for i in range(1, rng.randint(2, 6))),
                "| a | b |\n|---|---|\n" + "\n".join(f"| {words(rng.randint(1, 20))} | x |" for _ in range(4)),
                "Short line",
            ]
        )
        for _ in range(rng.randint(1, 12))
    ]
    return rng.choice(["", "\n", "  "]) + rng.choice(["\n\n", "\n", "\n \n\n"]).join(parts) + rng.choice(["", "\n"])


@pytest.mark.parametrize("count", [count_words, count_characters])
@pytest.mark.parametrize("overlap", [0, 12])
@pytest.mark.parametrize("path", ["a.md", "a.txt"])
def test_chunks_hold_all_text_and_fit(count, overlap, path):
    rng = random.Random(7)
    for _ in range(60):
        document = make_document(path, random_text(rng))
        settings = ChunkSettings(max_tokens=rng.choice([16, 24, 50, 200]), overlap_tokens=overlap)
        chunks = chunk_document(document, count, settings)
        covered = set()
        for chunk in chunks:
            assert chunk.text == document.text[chunk.start : chunk.end] == chunk.text.strip()
            assert count([chunk.text])[0] <= settings.max_tokens
            assert (chunk.document_id, chunk.document_path) == (document.id, path)
            covered |= set(range(chunk.start, chunk.end))
        assert {i for i, c in enumerate(document.text) if not c.isspace()} <= covered
        for before, after in pairwise(chunks):
            assert before.start < after.start and before.end < after.end
            assert overlap or before.end <= after.start
        assert len({chunk.id for chunk in chunks}) == len(chunks)
        assert chunks == chunk_document(document, count, settings)


def test_neighbouring_paragraphs_are_joined_until_full():
    paragraphs = [words(6, "a"), words(6, "b"), words(6, "c"), words(6, "d")]
    assert texts_of("\n\n".join(paragraphs), max_tokens=16) == [
        "\n\n".join(paragraphs[:2]),
        "\n\n".join(paragraphs[2:]),
    ]


def test_sections_are_not_joined_and_know_their_headings():
    text = "Intro.\n\n# Top\n\n## Left\n\nText.\n\nMore.\n\n### Deep\nText.\n\n## Right\n\nText.\n\n"
    text += "# Next\n\n### Low\n\nText."
    chunks = chunk_document(make_document("a.md", text), count_words, ChunkSettings())
    assert [(chunk.heading_path, chunk.text) for chunk in chunks] == [
        ((), "Intro."),
        (("Top", "Left"), "# Top\n\n## Left\n\nText.\n\nMore."),
        (("Top", "Left", "Deep"), "### Deep\nText."),
        (("Top", "Right"), "## Right\n\nText."),
        (("Next", "Low"), "# Next\n\n### Low\n\nText."),
    ]
    assert chunks[3].search_text == "Top > Right\n## Right\n\nText."
    assert chunks[0].search_text == "Intro."


def test_a_long_paragraph_is_cut_between_sentences_and_its_heading_stays_with_the_first():
    sentences = [words(8, name) for name in "abcd"]
    assert texts_of("## Heading\n\n" + " ".join(sentences), max_tokens=17) == [
        "## Heading\n\n" + sentences[0],
        " ".join(sentences[1:3]),
        sentences[3],
    ]


def test_a_long_sentence_is_cut_between_words_and_a_long_word_between_characters():
    assert texts_of(words(40), max_tokens=16) == [
        " ".join(words(40).split()[start : start + 16]) for start in (0, 16, 32)
    ]
    assert texts_of("y" * 40, count=count_characters, max_tokens=16) == ["y" * 16, "y" * 16, "y" * 8]


def test_headings_at_the_end_are_kept():
    assert texts_of("Text.\n\n# Last\n\n## Words\n") == ["Text.", "# Last\n\n## Words"]


def test_plain_text_headings():
    text = "THE MILL\nby a miller\n\nIt grinds.\n\nPart two: the pond\n\nIt is deep.\n\nGoats\n\nGeese\n\nHens"
    chunks = chunk_document(make_document("a.txt", text), count_words, ChunkSettings())
    assert [(chunk.heading_path, chunk.text) for chunk in chunks] == [
        (("THE MILL",), "THE MILL\nby a miller\n\nIt grinds."),
        (("THE MILL", "Part two: the pond"), "Part two: the pond\n\nIt is deep.\n\nGoats\n\nGeese\n\nHens"),
    ]


def test_overlap_repeats_whole_sentences():
    sentences = [words(6, name) for name in "abcdef"]
    text = " ".join(sentences)
    assert texts_of(text, max_tokens=20, overlap_tokens=7) == [
        " ".join(sentences[:3]),
        " ".join(sentences[2:5]),
        " ".join(sentences[4:]),
    ]
    assert texts_of(text, max_tokens=20, overlap_tokens=5) == texts_of(text, max_tokens=20)


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="overlap_tokens=20 must be less than max_tokens=20"):
        ChunkSettings(max_tokens=20, overlap_tokens=20)
    with pytest.raises(ValidationError):
        ChunkSettings(max_token=20)


def test_sample_sentences_lie_whole_in_a_chunk(request):
    documents = read_documents(request.config.rootpath / "data" / "samples" / "documents")
    chunks = chunk_documents(documents, count_words, ChunkSettings(max_tokens=110))
    for document in documents:
        own = [chunk for chunk in chunks if chunk.document_id == document.id]
        for start, end in sentence_spans(document.text):
            assert any(chunk.start <= start and end <= chunk.end for chunk in own), document.text[start:end]


def test_items_tables_and_listings_stay_whole_where_they_fit():
    items = [f"- {words(7, name)} {words(6, name)}" for name in "abc"]
    table = "| a | b |\n| - | - |\n" + "\n".join(f"| {n} | row |" for n in range(2))
    listing = "```\nfirst line here\n\nsecond. Line there\n```"
    text = f"{words(9)}\n" + "\n".join(items) + f"\n{table}\n{listing}\n{words(4, 'z')}"
    assert texts_of(text, max_tokens=20) == [
        words(9),
        items[0],
        items[1],
        items[2],
        table,
        f"{listing}\n{words(4, 'z')}",
    ]


def test_a_listing_or_table_that_is_too_long_is_cut_between_lines():
    lines = [f"call{n}. Then one two three" for n in range(8)]
    pieces = texts_of("```\n" + "\n".join(lines) + "\n```", max_tokens=16)
    assert all(line in pieces[n // 3] for n, line in enumerate(lines))
    rows = [f"| row {n} | Yes. No. Maybe. |" for n in range(8)]
    assert texts_of("\n".join(rows), max_tokens=16) == ["\n".join(rows[n : n + 2]) for n in range(0, 8, 2)]


def test_a_chunk_knows_its_pages():
    parts = [words(9, name) for name in "abcd"]
    text = f"{parts[0]}\n\n{parts[1]} {parts[2]}\n\n{parts[3]}"
    second = len(parts[0]) + 2
    pages = (0, second, second, second + len(parts[1]) + 1)  # the second page has no text
    document = make_document("a.pdf", text, pages=pages)
    chunks = chunk_document(document, count_words, ChunkSettings(max_tokens=18))
    assert [(chunk.pages, chunk.place) for chunk in chunks] == [
        ((1,), "a.pdf, page 1"),
        ((3, 4), "a.pdf, pages 3 to 4"),
        ((4,), "a.pdf, page 4"),
    ]
    assert chunk_document(make_document("a.md", text), count_words, ChunkSettings())[0].place == "a.md"


def test_heading_path_by_setting():
    document = make_document("a.md", "# Top\n\nText.")
    (chunk,) = chunk_document(document, count_words, ChunkSettings(heading_path=False))
    assert (chunk.heading_path, chunk.search_text) == ((), "# Top\n\nText.")


@pytest.mark.parametrize(
    "line",
    [
        "." * 300_000,
        "# a" + " " * 300_000 + "b",
        "e.g. " * 60_000,
        "No. 7, " * 40_000,
        "=" * 300_000,
        "a" + "-" * 300_000,
        "((" * 150_000,
        "| " * 150_000,
        "字" * 100_000,
        "- " * 100_000 + "x",
        "``" * 150_000,
        "？" * 100_000,
    ],
    ids=lambda line: line[:6].strip(),
)
def test_no_line_takes_quadratic_time(line):
    """Each of these took minutes with a pattern that goes back over the line, or a count of all that is left."""
    assert texts_of(line, count=count_characters, max_tokens=5000)
