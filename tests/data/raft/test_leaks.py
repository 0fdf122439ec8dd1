"""What is held out is shown nowhere: each kind of leak is planted, and found or kept out."""

from dataclasses import replace

import numpy as np
import pytest

from data.documents.near_duplicates import nearest_cosines, shared_words
from data.questions.repeats import repeats_a_question
from data.raft.leaks import Limits, find_leaks, keep_apart
from testing.raft_corpus import Corpus, make_chunk, make_corpus

LIMITS = Limits(question_cosine=0.95, chunk_cosine=0.95, chunk_words=0.8)


def split_of(corpus: Corpus):
    """Questions of the first document are held out."""
    held_out = [question for question in corpus.questions if question.document_id == "d0"]
    return held_out, [question for question in corpus.questions if question.document_id != "d0"]


def with_copy(corpus: Corpus, text: str, vector: np.ndarray) -> Corpus:
    """Another chunk, of a document that nobody asks about."""
    chunks = [*corpus.chunks, make_chunk("copy", text, "d9")]
    return Corpus(corpus.questions, chunks, np.vstack([corpus.vectors, vector]).astype(np.float32))


def find(corpus: Corpus, shown: set[str], questions: list[str], vectors: np.ndarray | None = None):
    held_out, _ = split_of(corpus)
    random = np.random.default_rng(0).normal(size=(len(held_out) + len(questions), 64)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    asked = random[len(held_out) :] if vectors is None else vectors
    return find_leaks(
        "training",
        shown,
        questions,
        held_out,
        corpus.chunks,
        corpus.vectors,
        asked,
        random[: len(held_out)],
        LIMITS,
    )


def test_chunks_of_held_out_documents_are_kept_apart():
    corpus = make_corpus()
    held_out, _ = split_of(corpus)
    allowed, kept_out = keep_apart(corpus.chunks, corpus.vectors, held_out, LIMITS)
    assert [chunk.document_id != "d0" for chunk in corpus.chunks] == allowed.tolist() and not kept_out


@pytest.mark.parametrize("how", ["cosine", "words"])
def test_a_chunk_that_nearly_repeats_a_held_out_one_is_kept_apart(how):
    corpus = make_corpus()
    far = -corpus.vectors[1]
    text, vector = ("Other words.", corpus.vectors[1]) if how == "cosine" else (f"{corpus.chunks[1].text} Ever.", far)
    corpus = with_copy(corpus, text, vector)
    allowed, (leak,) = keep_apart(corpus.chunks, corpus.vectors, split_of(corpus)[0], LIMITS)
    assert not allowed[-1] and allowed[4:-1].all()
    assert (leak.kind, leak.shown, leak.held_out) == ("chunk", "copy", corpus.chunks[1].id)
    assert leak.cosine > 0.99 if how == "cosine" else leak.words > 0.8


def test_no_leak_is_found_in_what_is_apart():
    corpus = make_corpus()
    shown = {chunk.id for chunk in corpus.chunks if chunk.document_id != "d0"}
    report = find(corpus, shown, [question.question for question in split_of(corpus)[1]])
    assert report.leaks == [] and set(report.as_json()["found"].values()) == {0}
    assert report.compared == {
        "chunks shown": 20,
        "chunks of held-out documents": 4,
        "questions": 40,
        "held-out questions": 8,
    }
    assert 0 < report.highest["chunk_cosine"] < 0.95


def test_every_kind_of_leak_is_found():
    corpus = make_corpus()
    # Chunk 3 of the held-out document bears no question.
    corpus = Corpus([q for q in corpus.questions if q.oracle_ids != ("0.3",)], corpus.chunks, corpus.vectors)
    corpus = with_copy(corpus, "Other words.", corpus.vectors[2])
    held_out, asked = split_of(corpus)
    same_words = held_out[0].question.upper()
    report = find(corpus, {"0.0", "0.3", "1.0", "copy"}, [same_words, asked[0].question])
    kinds = [(leak.kind, leak.shown, leak.held_out) for leak in report.leaks]
    assert kinds == [
        ("oracle", "0.0", "0.0"),
        ("document", "0.3", "0.3"),
        ("chunk", "copy", "0.2"),
        ("question", same_words, held_out[0].question),
    ]
    near = find(corpus, set(), ["What else?"], np.eye(1, 64, dtype=np.float32))
    assert near.leaks == []


def test_a_question_near_a_held_out_one_in_other_words():
    corpus = make_corpus(documents=2)
    held_out, _ = split_of(corpus)
    vectors = np.eye(len(held_out), 16, dtype=np.float32)
    close = vectors[2] + 0.1 * np.eye(1, 16, 9, dtype=np.float32)[0]
    asked = np.stack([close / np.linalg.norm(close), np.eye(1, 16, 12, dtype=np.float32)[0]])
    assert repeats_a_question([("one", ()), ("two", ())], asked, held_out, vectors, 0.95) == [True, False]
    assert repeats_a_question([(held_out[0].question + " ?", ())], asked[1:], held_out, vectors, 0.95) == [True]


def test_shared_words_are_counted_exactly_in_every_script():
    text = " ".join(f"word{n}" for n in range(40))
    most = " ".join(f"word{n}" for n in range(38)) + " end"
    half = " ".join(f"word{n}" for n in range(20))
    # 36 of 38 + 37 - 36 runs of three words are shared.
    assert shared_words([most, half, "nothing"], [half + " x y", text], 0.8) == {
        0: (1, pytest.approx(36 / 39)),
        1: (0, pytest.approx(18 / 20)),
    }
    assert shared_words(["島の水車は古い橋の下で九回まわる。"], ["島の水車は古い橋の下で九回まわる"], 0.9) == {
        0: (0, 1.0)
    }
    assert shared_words([], ["a"], 0.5) == shared_words(["a"], [], 0.5) == {}


def test_nearest_cosines_without_others():
    places, cosines = nearest_cosines(np.eye(2, dtype=np.float32), np.zeros((0, 2), np.float32))
    assert places.tolist() == [0, 0] and cosines.tolist() == [-1, -1]


def test_the_same_report_whatever_the_order_of_questions():
    corpus = make_corpus()
    one = keep_apart(corpus.chunks, corpus.vectors, split_of(corpus)[0], LIMITS)
    held_out = [replace(question) for question in reversed(split_of(corpus)[0])]
    other = keep_apart(corpus.chunks, corpus.vectors, held_out, LIMITS)
    assert (one[0] == other[0]).all() and one[1] == other[1]


def test_a_chunk_whose_copy_stood_in_a_held_out_document_is_kept_apart():
    """The copy was collapsed: nothing else says that the held-out document holds the same text."""
    corpus = make_corpus()
    shared = next(chunk for chunk in corpus.chunks if chunk.document_id == "d1")
    copies = {shared.id: {"d0"}}
    held_out, _ = split_of(corpus)
    allowed, (leak,) = keep_apart(corpus.chunks, corpus.vectors, held_out, LIMITS, copies)
    assert leak.shown == shared.id and not allowed[corpus.chunks.index(shared)]
    empty = np.zeros((0, corpus.vectors.shape[1]), np.float32)
    asked = np.zeros((len(held_out), corpus.vectors.shape[1]), np.float32)
    given = ("training", {shared.id}, [], held_out, corpus.chunks, corpus.vectors, empty, asked, LIMITS)
    assert [leak.shown for leak in find_leaks(*given, copies=copies).leaks] == [shared.id]
    assert not find_leaks(*given).leaks
