"""Chunks that repeat others: which are collapsed, into which, and that no question loses its proof by it."""

import numpy as np
import pytest

from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.documents.duplicates import collapse_duplicates
from data.questions.grounding import ground_questions
from data.questions.questions import QuestionSettings, RawQuestion

TERMS = (
    "Members pay by the sack and settle in March. Whoever is late pays a fine to the miller. "
    "The mill rests when the water is too high, and the miller mends his boat. Guests pay half as much again, "
    "and the fee for the lantern is extra. Nobody grinds at night without the key of the founder."
)
OTHER = "The orchard belongs to the school. Pupils pick the pears in October and sell them at the gate."


def count_words(texts):
    return [len(text.split()) for text in texts]


def chunks_of(*texts: tuple[str, str]):
    documents = [make_document(path, text) for path, text in texts]
    return documents, chunk_documents(documents, count_words, ChunkSettings(max_tokens=100))


def collapsed(*texts: tuple[str, str], threshold: float = 0.8) -> list[tuple[str, str]]:
    _, chunks = chunks_of(*texts)
    kept, duplicates = collapse_duplicates(chunks, threshold)
    assert len(kept) + len(duplicates) == len(chunks)
    paths = {chunk.id: chunk.document_path for chunk in chunks}
    assert {copy.kept_id for copy in duplicates} <= {chunk.id for chunk in kept}
    return [(copy.document_path, paths[copy.kept_id]) for copy in duplicates]


def test_exact_copies_are_collapsed_into_the_first():
    spaced = TERMS.upper().replace(" ", "  ")
    assert collapsed(("a.md", TERMS), ("b.md", OTHER), ("c.md", spaced), ("d.md", TERMS), threshold=1) == [
        ("c.md", "a.md"),
        ("d.md", "a.md"),
    ]


def test_near_copies_are_collapsed_by_their_common_runs_of_words():
    edited = TERMS.replace("lantern", "lamp").replace("founder", "old miller")
    assert collapsed(("a.md", TERMS), ("b.md", edited)) == [("b.md", "a.md")]
    assert collapsed(("a.md", TERMS), ("b.md", edited), threshold=0.98) == []
    _, duplicates = collapse_duplicates(chunks_of(("a.md", TERMS), ("b.md", edited))[1], 0.8)
    assert 0.8 <= duplicates[0].similarity < 0.98


def test_other_numbers_are_other_facts():
    assert collapsed(("a.md", f"In 1931: {TERMS}"), ("b.md", f"In 1932: {TERMS}")) == []


def test_the_headings_count():
    assert collapsed(("a.md", "# Library\n\nOpen from 9 to 5."), ("b.md", "# Museum\n\nOpen from 9 to 5.")) == []
    assert collapsed(("a.md", f"# Library\n\n{TERMS}"), ("b.md", f"# Museum\n\n{TERMS}")) == [("b.md", "a.md")]


CARD = (
    "endpoint: tidal forecast\nmethod: a call by the library of the harbour office\nauthentication: the key that the "
    "harbour office gives to each caller\nerrors: the same as those of all other endpoints of the harbour office\n"
    "owner: the second desk of the harbour office"
)


@pytest.mark.parametrize(("old", "new"), [("tidal", "solar"), ("second", "third")])
def test_records_that_differ_in_a_word_of_a_field_are_kept_apart(old, new):
    assert collapsed(("a.md", CARD), ("b.md", CARD.replace(old, new))) == []
    text = f"# Calls\n\n{TERMS}\n\n{CARD}"
    assert collapsed(("a.md", text), ("b.md", text.replace(old, new))) == [("b.md", "a.md")], "the terms alone"


def test_records_of_documents_with_other_titles_are_kept_apart():
    hours = "opens: at nine\ncloses: at five\nfee: three crowns"
    assert collapsed(("mill.md", hours), ("library.md", hours)) == []
    assert collapsed(("mill.md", TERMS), ("library.md", TERMS)) == [("library.md", "mill.md")]
    assert collapsed(("a.md", hours), ("a/a.md", hours.upper())) == [("a/a.md", "a.md")]


def test_equal_parts_of_other_records_are_kept_apart():
    """The middle of a long record says nothing of what it belongs to."""
    rest = f"terms: {TERMS} {TERMS}"
    assert collapsed(("a.md", f"name: winch\n{rest}"), ("b.md", f"name: kiln\n{rest}")) == []
    assert len(collapsed(("a.md", f"name: winch\n{rest}"), ("b.md", f"name: winch\n{rest}"))) == 2


def test_rows_of_tables_and_entries_of_logs_that_differ_in_a_word_are_kept_apart():
    table = "| who | pays |\n| --- | --- |\n" + "\n".join(f"| {word} | the fee |" for word in OTHER.split()[-6:])
    assert collapsed(("a.md", table), ("b.md", table.replace("sell", "eat"))) == []
    log = "\n".join(f"2026-03-01 12:00:00 {word} is opened by the keeper" for word in ("the gate", "the sluice"))
    assert collapsed(("a.log", log), ("b.log", log.replace("sluice", "door"))) == []


def test_scripts_without_spaces():
    text = (
        "磨坊位于河边，由十九个农场共同拥有。春天水位太高时，磨坊停止工作，磨坊主修理他的船。会员按袋付费，三月结算。"
    )
    assert collapsed(("a.md", text), ("b.md", text.replace("船", "船只"))) == [("b.md", "a.md")]


# Grounding


def ground(raw: list[RawQuestion], *texts: tuple[str, str]):
    documents, chunks = chunks_of(*texts)
    kept, duplicates = collapse_duplicates(chunks, 0.8)
    assert duplicates

    def embed(wordings):
        return np.ones((len(wordings), 2), np.float32) / np.sqrt(2)

    def search(wordings, k):
        return [[chunk.id for chunk in kept[:k]] for _ in wordings]

    questions, rejected = ground_questions(raw, documents, kept, QuestionSettings(), embed, search, duplicates)
    ids = {document.id: document.path for document in documents}
    held = {chunk.id: chunk for chunk in kept}
    for question in questions:
        assert all(held[oracle].document_id == question.document_id for oracle in question.oracle_ids)
        texts_shown = " ".join(" ".join(held[oracle].text.split()) for oracle in question.oracle_ids)
        assert all(" ".join(quote.split()) in texts_shown for quote in question.quotes)
    return [(ids[question.document_id], question.quotes) for question in questions], rejected


LATE = "Whoever is late pays a fine to the miller."


@pytest.mark.parametrize("quotes", [(LATE,), ()])
def test_a_question_about_a_copy_is_tied_to_what_stands_for_it(quotes):
    raw = [RawQuestion("Who pays a fine?", "Whoever is late", quotes, "b.md")]
    questions, rejected = ground(raw, ("a.md", TERMS), ("b.md", TERMS.replace(" ", "\n", 9)))
    assert questions == [("a.md", (LATE,))] and not rejected


def test_the_same_question_about_both_copies_is_asked_once():
    raw = [RawQuestion("Who pays a fine?", "Whoever is late", (LATE,), path) for path in ("a.md", "b.md")]
    questions, rejected = ground(raw, ("a.md", TERMS), ("b.md", TERMS))
    assert len(questions) == 1 and [item.reason for item in rejected] == ["duplicate"]


def test_a_quote_that_differs_a_little_is_taken_as_it_stands_in_the_chunk_that_is_kept():
    edited = TERMS.replace("a fine to the miller", "a fine to our miller")
    raw = [RawQuestion("Who pays a fine?", "Whoever is late", ("Whoever is late pays a fine to our miller.",), "b.md")]
    questions, rejected = ground(raw, ("a.md", TERMS), ("b.md", edited))
    assert questions == [("a.md", (LATE,))] and not rejected


def test_an_answer_that_only_the_copy_holds_is_rejected_with_the_reason():
    edited = TERMS.replace("a fine to the miller", "a fine to the sexton")
    raw = [RawQuestion("Who gets the fine?", "the sexton", ("Whoever is late pays a fine to the sexton.",), "b.md")]
    questions, rejected = ground(raw, ("a.md", TERMS), ("b.md", edited))
    assert not questions and [item.reason for item in rejected] == ["proved only by a collapsed chunk"]


def test_the_rest_of_a_document_with_a_copy_in_it_is_its_own():
    text = f"# Terms\n\n{TERMS}\n\n# Orchard\n\n{OTHER}"
    raw = [RawQuestion("Whose is the orchard?", "the school", (), "b.md"), RawQuestion("Late?", "a fine", (), "b.md")]
    questions, rejected = ground(raw, ("a.md", f"# Terms\n\n{TERMS}"), ("b.md", text))
    assert questions == [("b.md", ("The orchard belongs to the school.",)), ("a.md", (LATE,))] and not rejected
