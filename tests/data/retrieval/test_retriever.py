"""One way from questions to chunks: embeddings, BM25, their fusion, a cross-encoder; and its scores."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.retrieval.index import ChunkIndex
from data.retrieval.keywords import KeywordIndex
from data.retrieval.reranker import ScorePairs, load_reranker
from data.retrieval.retriever import RetrievalSettings, Retriever, fuse
from data.scoring.retrieval_scores import RECALL_AT, measure_retrieval, retrieval_table, score_ranking
from testing.raft_corpus import make_chunk, make_question
from testing.small_rerankers import reranker_folder

ROOT = Path(__file__).parents[3]
TEXTS = {
    "ferry": "Ferries leave the pier at noon, whatever the tide.",
    "goat": "Goats are milked twice a day in the long byre.",
    "soup": "Soup is made of onions and yesterday's bread.",
    "code": "The valve QX-17 must be oiled before winter.",
    "boat": "A boat of the second class carries forty people.",
}


@pytest.fixture(scope="module")
def chunks():
    return [make_chunk(name, text) for name, text in TEXTS.items()]


@pytest.fixture(scope="module")
def index(chunks, embedder):
    vectors = embedder.embed([chunk.search_text for chunk in chunks])
    return ChunkIndex.build(vectors, [chunk.id for chunk in chunks], embedder.digest)


@pytest.fixture(scope="module")
def keywords():
    return KeywordIndex.build(list(TEXTS.values()))


@pytest.fixture(scope="module")
def score(tmp_path_factory) -> ScorePairs:
    return load_reranker(reranker_folder(tmp_path_factory.mktemp("cross")))


def test_dense_only_is_the_index(chunks, index, embedder):
    retriever = Retriever(chunks, index, embedder.embed, RetrievalSettings(hybrid=False))
    questions = ["When does the boat go?", "How do I cook it?"]
    assert retriever.search(questions, 2) == index.search(embedder.embed(questions), 2)[1]
    assert list(retriever.rankings(questions, 2)) == ["embeddings"] and retriever.search([], 2) == []


def test_bm25_finds_shared_words(keywords, tmp_path):
    assert keywords.search(["valve QX-17", "GOATS and bread", "zzz", ""], 5) == [[3], [2, 1], [], []]
    keywords.save(tmp_path / "one")
    loaded = KeywordIndex.load(tmp_path / "one")
    assert loaded.search(["valve QX-17", "goats and bread"], 1) == [[3], [2]]
    KeywordIndex.build(list(TEXTS.values())).save(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    with pytest.raises(ValueError, match=r"no keyword index in .* retrieval.hybrid=true"):
        KeywordIndex.load(tmp_path / "nothing")


def test_bm25_over_texts_without_words():
    assert KeywordIndex.build(["...", "!"]).search(["word"], 3) == [[]]


def test_fusion_is_by_reciprocal_rank():
    assert fuse([["a", "b", "c"], ["c", "a"]], 60) == ["a", "c", "b"]
    assert fuse([["a", "b"], ["b", "a"]], 60) == ["a", "b"]  # equal: the first ranking decides
    # With a small constant the first rank weighs more than two middling ones.
    assert fuse([["a", "x", "y", "b"], ["u", "v", "w", "b"]], 60)[0] == "b"
    assert fuse([["a", "x", "y", "b"], ["u", "v", "w", "b"]], 0)[0] == "a"
    # Ranks count from 1: 1/1 is more than 1/2 + 1/3. Counted from 2, 1/2 would be less than 1/3 + 1/4.
    assert fuse([["a", "b"], ["u", "v", "b"]], 0) == ["a", "u", "b", "v"]


def test_hybrid_fuses_both(chunks, index, keywords, embedder):
    settings = RetrievalSettings(hybrid=True)
    retriever = Retriever(chunks, index, embedder.embed, settings, keywords)
    questions = ["What is to be done with QX-17?", "Which boats carry forty?"]
    steps = retriever.rankings(questions, 3)
    assert list(steps) == ["embeddings", "BM25", "hybrid"]
    full = retriever.rankings(questions, 5)
    assert full["hybrid"] == [fuse(pair, 60) for pair in zip(full["embeddings"], full["BM25"], strict=True)]
    assert retriever.search(questions, 3) == steps["hybrid"] and steps["hybrid"][0][0] == "code"


def test_the_cross_encoder_has_the_last_word(chunks, index, keywords, embedder, score):
    question = "Who milks?"
    scores = score([(question, chunk.search_text) for chunk in chunks])
    assert scores.shape == (5,) and len(set(scores.tolist())) == 5
    by_score = [chunks[place].id for place in np.argsort(-scores)]
    retriever = Retriever(chunks, index, embedder.embed, RetrievalSettings(hybrid=True), keywords, score)
    assert retriever.search([question], 5)[0] == by_score
    assert list(retriever.rankings([question], 2)) == ["embeddings", "BM25", "hybrid", "reranked"]
    shallow = Retriever(chunks, index, embedder.embed, RetrievalSettings(hybrid=False, depth=2), None, score)
    first = index.search(embedder.embed([question]), 5)[1][0]
    assert set(shallow.search([question], 5)[0][:2]) == set(first[:2])
    assert shallow.search([question], 5)[0][2:] == first[2:]


def test_scores_of_a_ranking():
    scores = score_ranking(["x", "a", "y", "b"], ["a", "b"])
    assert scores["recall_at_1"] == 0 and scores["recall_at_3"] == 0.5 and scores["recall_at_5"] == 1
    assert scores["mrr"] == 0.5
    ideal = 1 + 1 / math.log2(3)
    assert scores["ndcg"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert score_ranking(["a", "b"], ["b", "a"])["ndcg"] == 1
    assert set(score_ranking([], ["a"]).values()) == {0.0}


def test_a_document_is_found_by_any_of_its_chunks():
    """The document may be found where the chunk is not."""
    scores = score_ranking(["x", "of-it", "y"], ["a"], {"a", "of-it"})
    assert [scores[f"recall_at_{k}"] for k in RECALL_AT] == [0, 0, 0, 0]
    assert [scores[f"document_recall_at_{k}"] for k in RECALL_AT] == [0, 1, 1, 1]
    # One of two oracles is half of the chunks that are wanted, and the whole document.
    both = score_ranking(["a"], ["a", "b"], {"a", "b"})
    assert (both["recall_at_5"], both["document_recall_at_5"]) == (0.5, 1)


def test_every_step_and_part_is_measured(chunks, index, keywords, embedder):
    retriever = Retriever(chunks, index, embedder.embed, RetrievalSettings(hybrid=True), keywords)
    train = [make_question("QX-17", ("code",), "oil", ("x",)), make_question("goats", ("goat",), "twice", ("y",))]
    rows = measure_retrieval(retriever, {"train": train, "validation": [], "eval": train[:1]})
    assert [(row["part"], row["step"], row["questions"]) for row in rows] == [
        (part, step, number)
        for part, number in (("train", 2), ("eval", 1))
        for step in ("embeddings", "BM25", "hybrid")
    ]
    assert rows[1]["recall_at_1"]["value"] == 1 and rows[1]["mrr"] == {"value": 1, "low": 1, "high": 1}
    table = retrieval_table(rows)
    assert table.splitlines()[0].split("|")[1].strip() == "questions" and "100.0 (100.0 to 100.0)" in table
    assert "document recall@5" in table.splitlines()[0]
    older = [{key: value for key, value in row.items() if "document" not in key} for row in rows]
    assert "recall@5" in retrieval_table(older) and "document" not in retrieval_table(older)


def test_recall_by_document_is_measured_apart_from_that_by_chunk(index, keywords, embedder):
    chunks = [make_chunk(name, text, "a" if name in ("boat", "ferry") else name) for name, text in TEXTS.items()]
    retriever = Retriever(chunks, index, embedder.embed, RetrievalSettings(hybrid=False))
    asked = replace(
        make_question("boat", ("ferry",), "x", ("y",)), question="Whom does the boat carry?", document_id="a"
    )
    (row,) = measure_retrieval(retriever, {"eval": [asked]})
    assert (row["recall_at_1"]["value"], row["document_recall_at_1"]["value"]) == (0, 1)


def test_the_same_texts_give_the_same_bytes_in_every_process(tmp_path):
    """Sets have another order in each process."""
    build = f"KeywordIndex.build({list(TEXTS.values())!r}).save(sys.argv[1])"
    code = f"import sys; from data.retrieval.keywords import KeywordIndex; {build}"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed})
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()
