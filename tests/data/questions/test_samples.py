"""The sample corpus is what the README says: real quotes, no near-duplicate questions, enough held out."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.documents.corpus import read_documents
from data.questions.question_files import read_questions
from data.questions.split import SplitSettings, document_key, split_keys
from data.scoring.scores import normalize_answer

SAMPLES = Path(__file__).parents[3] / "data" / "samples"


@pytest.fixture(scope="module")
def documents():
    return {document.path: document for document in read_documents(SAMPLES / "documents")}


@pytest.fixture(scope="module")
def questions():
    return read_questions(SAMPLES / "questions.jsonl")


def test_sizes(documents, questions):
    assert len(documents) >= 24
    assert len(questions) >= 240
    assert all(400 <= len(document.text.split()) <= 900 for document in documents.values())
    assert {question.document for question in questions} == set(documents)
    assert sum(len(question.quotes) == 2 for question in questions) >= 20


def test_every_quote_stands_in_its_document_and_holds_the_answer(documents, questions):
    for question in questions:
        text = documents[question.document].text
        assert all(quote in text and "\n" not in quote for quote in question.quotes), question.question
        quoted = normalize_answer(" ".join(question.quotes))
        assert normalize_answer(question.answer) in quoted, question.question
        whole_words = f" {normalize_answer(question.question)} "
        assert f" {normalize_answer(question.answer)} " not in whole_words, question.question


@pytest.mark.slow
def test_no_two_questions_are_near_duplicates(questions, embedder):
    vectors = embedder.embed([question.question for question in questions])
    cosines = vectors @ vectors.T - np.eye(len(vectors), dtype=np.float32)
    first, second = np.unravel_index(cosines.argmax(), cosines.shape)
    assert cosines.max() < 0.95, (questions[first].question, questions[second].question)


def test_at_least_six_documents_are_held_out(documents, questions):
    keys = {document_key(documents[question.document]) for question in questions}
    assert len(split_keys(keys, SplitSettings()).eval) >= 6


def test_file_is_json_lines_in_order_of_documents():
    rows = [json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text().splitlines()]
    assert [row["document"] for row in rows] == sorted(row["document"] for row in rows)
