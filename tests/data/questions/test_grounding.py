"""Questions tied to documents, verbatim quotes and oracle chunks, with the real embedder and index."""

import logging
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.prompting.prompts import ABSTENTION
from data.questions.evidence import Support
from data.questions.grounding import ground_questions
from data.questions.questions import QuestionSettings, RawQuestion
from data.questions.repair import Repairs
from data.retrieval.index import ChunkIndex

MILL = make_document(
    "places/mill.md",
    """# The tidal mill

The mill on Ousel was begun in 1927.
It was finished in 1929, after
two wet winters.

## Work

- The miller grinds corn for 7 hours on a spring tide.
- The miller may keep one scoop in seventeen.

Goats are not allowed inside. A lost pick costs 3.5 marks. The mill was painted red in 1950 by Hesk Dellacorn.
""",
)
RADIO = make_document(
    "radio.txt",
    "BRANNOCH SOUND RADIO\n\nThe station went on the air in 1962 from a hen house. The mast is 48 metres tall, and it "
    "hums in a southerly wind. The studio was painted green in 1950.\n",
)
SHOP = make_document("other/mill.md", "# The shop\n\nThe shop sells rope. A goat lives behind the shop.\n")
DOCUMENTS = [MILL, RADIO, SHOP]
SHORT = ChunkSettings(max_tokens=24)


def count_words(texts):
    return [len(text.split()) for text in texts]


@pytest.fixture(scope="module")
def ground(embedder):
    @cache
    def chunks_and_index(settings):
        chunks = chunk_documents(DOCUMENTS, count_words, settings)
        vectors = embedder.embed([chunk.search_text for chunk in chunks])
        return chunks, ChunkIndex.build(vectors, [chunk.id for chunk in chunks], embedder.digest)

    def run(*raw, chunk=SHORT, **settings):
        chunks, index = chunks_and_index(chunk)

        def search(texts, k):
            return index.search(embedder.embed(texts), k)[1]

        result = ground_questions(raw, DOCUMENTS, chunks, QuestionSettings(**settings), embedder.embed, search)
        by_id = {document.id: document for document in DOCUMENTS}
        of_chunk = {chunk.id: chunk for chunk in chunks}
        for question in result[0]:  # what must hold for every question
            assert question.oracle_ids and bool(question.quotes) == (
                question.answerable and question.quote_source != "none"
            )
            assert all(quote in by_id[question.document_id].text for quote in question.quotes)
            oracles = [of_chunk[id] for id in question.oracle_ids]
            assert all(any(quote in chunk.text for chunk in oracles) for quote in question.quotes)
            assert all(chunk.document_id == question.document_id for chunk in oracles)
        return result

    return run


def only(result):
    questions, rejected = result
    assert len(questions) == 1 and not rejected, rejected
    return questions[0]


def reasons(result):
    return [rejected.reason for rejected in result[1]]


def test_a_given_quote_is_stored_as_it_stands_in_the_document(ground):
    raw = RawQuestion(
        "When was it finished?", "1929", ("It was  finished in 1929, after two\twet winters.",), "radio.txt"
    )
    assert reasons(ground(raw)) == ["quote not in document"]
    raw = RawQuestion(raw.question, raw.answer, raw.quotes, "places/mill.md", "The text gives the year.")
    question = only(ground(raw))
    assert question.quotes == ("It was finished in 1929, after\ntwo wet winters.",)
    assert (question.quote_source, question.tied_by, question.reason) == ("given", "given", "The text gives the year.")


def test_several_quotes_of_one_document(ground):
    quotes = ("The mill on Ousel was begun in 1927.", "Goats are not allowed inside.")
    question = only(ground(RawQuestion("When, and who may not enter?", "1927, goats", quotes, "places/mill.md")))
    assert question.quotes == quotes and len(question.oracle_ids) == 2


def test_the_sentence_that_holds_the_answer_is_the_quote(ground):
    question = only(ground(RawQuestion("How long does he grind?", "7  HOURS.", document="places/mill.md")))
    assert question.quotes == ("The miller grinds corn for 7 hours on a spring tide.",)
    assert question.quote_source == "verbatim"


@pytest.mark.parametrize(
    ("question", "quote"),
    [
        ("How many scoops may the miller keep?", "The miller may keep one scoop in seventeen."),
        ("Who grinds corn?", "The miller grinds corn for 7 hours on a spring tide."),
    ],
)
def test_of_several_sentences_the_one_nearest_to_the_question(ground, question, quote):
    assert only(ground(RawQuestion(question, "the miller", document="places/mill.md"))).quotes == (quote,)


@pytest.mark.parametrize("answer", ["3", "5", "oat", "1927.5", "rope"])
def test_an_answer_inside_a_word_or_number_does_not_stand_there(ground, answer):
    raw = RawQuestion("What?", answer, document="places/mill.md")
    assert reasons(ground(raw)) == ["answer not in document"]


def test_an_answer_that_stands_nowhere_gets_evidence_only_where_the_settings_say_so(ground):
    nowhere = RawQuestion("Who keeps the key of the mill?", "Nils Aas", document="places/mill.md")
    assert reasons(ground(nowhere)) == ["answer not in document"]
    assert reasons(ground(nowhere, evidence="supported")) == ["answer not supported"]
    question = only(ground(nowhere, evidence="none"))
    assert (question.quotes, question.quote_source, question.document_id) == ((), "none", MILL.id)
    assert len(question.oracle_ids) == 1


def test_yes_and_free_answers_quote_the_sentence_whose_support_is_confirmed(ground):
    raw = RawQuestion("Are goats allowed inside?", "No", document="places/mill.md")
    assert reasons(ground(raw)) == ["answer not in document"]
    question = only(ground(raw, evidence="supported"))
    assert (question.quotes, question.quote_source) == (("Goats are not allowed inside.",), "supported")
    free = RawQuestion("How long does the work take?", "the grinding of corn takes 7 hours", document="places/mill.md")
    question = only(ground(free, evidence="supported"))
    assert question.quotes == ("The miller grinds corn for 7 hours on a spring tide.",)
    other = RawQuestion("Is there a lift to the attic?", "No", document="places/mill.md")
    assert reasons(ground(other, evidence="supported")) == ["answer not supported"]


@pytest.mark.parametrize("measure", [{"score": 0.6}, {"least_cosine": 0.2}])
def test_a_cross_encoder_or_a_cosine_confirms_where_words_do_not(embedder, measure):
    chunks = chunk_documents(DOCUMENTS, count_words, SHORT)
    raw = RawQuestion("Does the mast make a sound when it blows?", "It hums like a bee", document="radio")

    def ground_with(support):
        settings = QuestionSettings(evidence="supported")
        return ground_questions([raw], DOCUMENTS, chunks, settings, embedder.embed, lambda *_: [], support=support)

    score = measure.pop("score", None)
    assert reasons(ground_with(Support())) == ["answer not supported"]
    pairs = (lambda pairs: np.array([score * ("hums" in text) for _, text in pairs])) if score else None
    question = only(ground_with(Support(score=pairs, **measure)))
    assert "hums" in question.quotes[0] and question.quote_source == "supported"


def test_of_several_right_answers_the_first_that_stands_there_is_trained(ground):
    raw = RawQuestion("How tall?", "forty-eight m", document="radio", other_answers=("about 48", "48 metres", "metres"))
    question = only(ground(raw))
    assert question.answer == "48 metres" and question.quote_source == "verbatim"
    assert question.other_answers == ("forty-eight m", "about 48", "metres")
    assert reasons(ground(replace(raw, other_answers=("50 metres",)))) == ["answer not in document"]


def test_without_a_document_retrieval_ties(ground):
    question = only(ground(RawQuestion("How tall is the mast of the station?", "48 metres")))
    assert (question.document_id, question.tied_by, question.quote_source) == (RADIO.id, "retrieval", "verbatim")
    free = RawQuestion("Does the mast hum in a wind?", "Yes, in a southerly.")
    assert reasons(ground(free)) == ["answer not in document"]
    question = only(ground(free, evidence="supported"))
    assert (question.document_id, question.tied_by, question.quote_source) == (RADIO.id, "retrieval", "supported")
    question = only(ground(free, evidence="none"))
    assert (question.document_id, question.tied_by, question.quote_source) == (RADIO.id, "retrieval", "none")
    quoted = RawQuestion("What is sold?", "rope", ("The shop sells rope.",))
    assert only(ground(quoted)).tied_by == "retrieval"
    nowhere = RawQuestion("What is sold?", "rope", ("The shop sells string.",))
    assert reasons(ground(nowhere)) == ["quote not in document"]


def test_retrieval_depth_is_live(ground):
    raw = RawQuestion("How tall is the mast of the radio station?", "seventeen")
    assert reasons(ground(raw, retrieval_depth=1)) == ["answer not in document"]
    assert only(ground(raw, retrieval_depth=6)).document_id == MILL.id


@pytest.mark.parametrize("name", ["places/mill.md", "The tidal mill"])
def test_documents_are_known_by_path_and_title(ground, name):
    assert only(ground(RawQuestion("When begun?", "1927", document=name))).document_id == MILL.id


@pytest.mark.parametrize("name", ["radio.txt", "radio", "BRANNOCH SOUND RADIO"])
def test_documents_are_known_by_file_name_and_stem(ground, name):
    assert only(ground(RawQuestion("How tall?", "48 metres", document=name))).document_id == RADIO.id


def test_what_cannot_be_tied_is_rejected_with_its_reason_in_order(ground, caplog):
    questions, rejected = ground(
        RawQuestion("Q1?", "A", document="nowhere.md", source="q.jsonl line 1"),
        RawQuestion("Q2?", "A", document="mill", source="q.jsonl line 2"),
        RawQuestion("When did it go on air?", "1962", document="radio"),
        RawQuestion("Q3?", "", document="radio"),
        RawQuestion("when did  it go on air", "in 1962", document="radio"),
        RawQuestion("When did it go on air?", "1927", document="places/mill.md"),
    )
    assert [q.document_id for q in questions] == [RADIO.id, MILL.id]
    assert [r.reason for r in rejected] == ["unknown document", "ambiguous document", "no answer", "duplicate"]
    assert "places/mill.md, other/mill.md" in rejected[1].detail
    assert rejected[0].source == "q.jsonl line 1" and rejected[0].question == "Q1?"
    told = "4 of 6 questions are rejected: ambiguous document (1), duplicate (1), no answer (1), unknown document (1)"
    assert told in caplog.text


def test_a_quote_across_a_border_is_cut_between_sentences_and_counted(ground, caplog):
    quote = (
        "Goats are not allowed inside. A lost pick costs 3.5 marks. The mill was painted red in 1950 by Hesk Dellacorn."
    )
    raw = RawQuestion("Who painted it?", "Hesk Dellacorn", (quote,), "places/mill.md")
    assert only(ground(raw)).quotes == (quote,)
    with caplog.at_level(logging.INFO):
        question = only(ground(raw, chunk=ChunkSettings(max_tokens=16)))
    assert " ".join(question.quotes) == quote and len(question.oracle_ids) == len(question.quotes) == 2
    assert "1 questions have a quote that crosses a chunk border" in caplog.text


def test_of_a_sentence_that_no_chunk_holds_each_part_is_a_quote(embedder):
    sentence = "The mast is 48 metres tall, and it hums in a southerly wind."
    chunks = chunk_documents(DOCUMENTS, lambda texts: [len(text) // 3 for text in texts], ChunkSettings(max_tokens=16))
    raws = [
        RawQuestion("How tall?", "48 metres", (sentence,), "radio"),
        RawQuestion("How high?", "48 metres", document="radio"),
        RawQuestion("When does it hum?", "tall, and it hums in a southerly wind", document="radio"),
    ]
    questions, rejected = ground_questions(raws, DOCUMENTS, chunks, QuestionSettings(), embedder.embed, lambda *_: [])
    assert not rejected
    given, part, across = questions
    assert " ".join(given.quotes) == sentence and len(given.oracle_ids) == len(given.quotes) == 2
    assert part.quotes == given.quotes[:1] and part.oracle_ids == given.oracle_ids[:1]
    assert across.quotes == given.quotes  # one quote in each chunk


def test_with_overlap_the_first_chunk_that_holds_the_quote_is_the_oracle(ground):
    raw = RawQuestion("What does it cost?", "3.5 marks", document="places/mill.md")
    chunk = ChunkSettings(max_tokens=20, overlap_tokens=8)
    chunks = chunk_documents(DOCUMENTS, count_words, chunk)
    holders = [c.id for c in chunks if "A lost pick costs 3.5 marks." in c.text]
    assert len(holders) == 2
    assert only(ground(raw, chunk=chunk)).oracle_ids == (holders[0],)


def test_ids_are_stable_and_differ(ground):
    raw = [
        RawQuestion("When was it painted?", "1950", document="places/mill.md"),
        RawQuestion("When was it painted?", "1950", document="radio"),
        RawQuestion("When was it begun?", "1927", document="places/mill.md"),
    ]
    ids = [question.id for question in ground(*raw)[0]]
    assert len(set(ids)) == 3
    assert ids[::-1] == [question.id for question in ground(*raw[::-1])[0]]


@pytest.mark.parametrize("quotes", [(), ("The station went on the air in 1962 from a hen house.",)])
@pytest.mark.parametrize("document", ["radio.txt", None])
def test_an_unanswerable_question_is_tied_and_keeps_no_quote(ground, quotes, document):
    raw = RawQuestion("Who owned the hen house of the radio station?", "Not in the documents.", quotes, document)
    (question,), rejected = ground(raw)
    assert not rejected
    assert (question.answer, question.quotes) == ("not in the documents", ())
    assert len(question.oracle_ids) == 1
    assert question.document_id == RADIO.id


def test_an_answer_wins_over_the_same_question_said_to_have_none(ground):
    asked = "When was the studio painted?"
    quote = "The studio was painted green in 1950."
    none = RawQuestion(asked, ABSTENTION, quotes=("The mast is 48 metres tall",), document="radio.txt", source="one")
    questions, rejected = ground(none, RawQuestion(asked, "1950", quotes=(quote,), document="radio.txt", source="two"))
    assert [question.answer for question in questions] == ["1950"]
    assert [(item.reason, item.source) for item in rejected] == [("contradicts another answer", "one")]


def test_the_same_question_with_another_answer_is_told(ground):
    raws = [
        RawQuestion("When was it painted?", "1950", document="radio", source="one"),
        RawQuestion("When was it painted?", "green", document="radio", source="two"),
        RawQuestion("when was it painted", " 1950. ", document="radio", source="three"),
    ]
    questions, rejected = ground(*raws)
    assert len(questions) == 1
    assert [(item.reason, item.source) for item in rejected] == [
        ("contradicts another answer", "two"),
        ("duplicate", "three"),
    ]
    assert "'green' here, and '1950' in one, which is kept" in rejected[0].detail


def test_a_part_of_a_sentence_becomes_the_sentence_and_is_told(embedder, caplog):
    chunks = chunk_documents(DOCUMENTS, count_words, SHORT)
    repairs = Repairs(2)
    quotes = ("the miller may keep one scoop", "- The miller grinds corn for 7 hours on a spring tide.")
    raw = RawQuestion("How many?", "one scoop", ("may keep one scoop in", quotes[1]), "places/mill.md", source="x")
    with caplog.at_level(logging.INFO):
        (question,), _ = ground_questions(
            [raw], DOCUMENTS, chunks, QuestionSettings(), embedder.embed, lambda *_: [], (), repairs
        )
    assert question.quotes == (
        "The miller may keep one scoop in seventeen.",
        "The miller grinds corn for 7 hours on a spring tide.",
    )
    assert [(item.given, item.repaired, item.to_sentences) for item in repairs.done] == [
        ("may keep one scoop in", question.quotes[0], True),
        (quotes[1], question.quotes[1], True),
    ]
    assert "2 given quotes were not whole sentences" in caplog.text


def test_the_setting_of_earlier_versions_says_what_to_set(caplog):
    assert QuestionSettings.model_validate({"reject_unquoted": True}) == QuestionSettings()
    assert "leave it out" in caplog.text
    with pytest.raises(ValueError, match=r"set grounding.evidence to verbatim .* supported .* or none"):
        QuestionSettings.model_validate({"reject_unquoted": False})
