"""A low recall is told or refused before training, with the likely cause and the setting to try."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from data.retrieval.index import ChunkIndex
from data.retrieval.keywords import KeywordIndex
from data.retrieval.retriever import RetrievalSettings, Retriever
from data.scoring.retrieval_misses import MissCounts, Misses, check_recall, likely_cause, recall_warning
from testing.raft_corpus import make_chunk, make_question

ALL = MissCounts(questions=10, missed=8)


def rows(recall: float, document: float = 0.0, **steps: float):
    """Two parts, of 2 and 8 questions; other steps come before hybrid."""
    return [
        {
            "part": part,
            "step": step,
            "questions": questions,
            "recall_at_5": {"value": value},
            "document_recall_at_5": {"value": document},
        }
        for part, questions in (("train", 8), ("eval", 2))
        for step, value in {**steps, "hybrid": recall}.items()
    ]


@pytest.mark.parametrize(
    ("measured", "misses", "told"),
    [
        (rows(0.2), ALL, "neither the chunk nor its document is found.*set retrieval.hybrid=true.*embedding.embedder"),
        (rows(0.2, BM25=0.1, embeddings=0.1), ALL, "the language or the domain: set embedding.embedder"),
        (rows(0.2, BM25=0.4), ALL, "^BM25 alone finds 40.0%.*set embedding.embedder"),
        (rows(0.2, embeddings=0.4), ALL, "^embeddings alone find 40.0%.*retrieval.hybrid=false"),
        (rows(0.2, BM25=0.24), replace(ALL, of_document=4), "the document is found and the chunk is not.*max_tokens"),
        (rows(0.2), replace(ALL, of_document=4, alike=5), "its chunks are nearly alike: raise chunking.max_tokens"),
        (rows(0.2), replace(ALL, alike=4), "many chunks nearly repeat one another: lower chunking.near_duplicate"),
        (rows(0.2), replace(ALL, of_document=8, unnamed=4), "4 of the 8 missed questions.*critic.self_contained"),
    ],
)
def test_the_cause_names_the_setting_to_try(measured, misses, told):
    import re

    assert re.search(told, likely_cause(measured, misses)), likely_cause(measured, misses)
    assert likely_cause(measured, MissCounts(questions=10)) == ""
    reranked = [{**row, "step": "reranked"} if row["step"] == "hybrid" else row for row in rows(0.2, embeddings=0.4)]
    assert "retrieval.reranker to another model" in likely_cause(reranked, ALL)


def test_a_recall_below_one_half_is_warned_and_one_below_the_floor_is_refused(caplog):
    low, fair = rows(0.49, 0.8), rows(0.5, 0.9)
    with caplog.at_level(logging.WARNING):
        check_recall(fair, "why", None)
        check_recall(low, "why", None, warns=False)
        check_recall(low, "why", 0.49)
        check_recall([], "", 1.0)
        assert not caplog.records
        check_recall(low, "why", None)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "holds the answer for 49.0% of 10 questions, and one of its document for 80.0%: why" in line
    with pytest.raises(ValueError, match=r"50.0% of 10 questions.*why; or lower retrieval.min_recall=0.6") as refused:
        check_recall(fair, "why", 0.6)
    assert "\n" not in str(refused.value)


def test_all_parts_count_by_their_questions_and_the_last_step_decides():
    measured = rows(0.9, BM25=0.1)
    for row in measured[2:]:
        row["recall_at_5"] = {"value": 0.0}
    assert "72.0% of 10 questions" in recall_warning(measured, "why", 0.8)
    assert recall_warning(measured, "why", 0.72) == ""


@pytest.fixture
def retriever() -> Retriever:
    """Two documents of two chunks, and two that repeat one another; the vector of a text is that of its first word."""
    texts = {
        "a1": "north berths",
        "a2": "east pallets",
        "b1": "south sluices",
        "b2": "west lanterns",
        "c": "up ferries",
        "d": "up barrels",
    }
    places = ("north", "east", "south", "west", "up")

    def embed(asked):
        return np.eye(5, dtype=np.float32)[[places.index(text.split()[0]) for text in asked]]

    chunks = [make_chunk(name, text, name[0]) for name, text in texts.items()]
    index = ChunkIndex.build(embed(list(texts.values())), list(texts), "0")
    return Retriever(chunks, index, embed, RetrievalSettings(), KeywordIndex.build(list(texts.values())))


def test_what_missed_questions_have_in_common_is_counted(retriever):
    def asked(text, oracle):
        return replace(make_question("q", (oracle,), "x", ("y",)), question=text, document_id=oracle[0])

    misses = Misses(retriever)
    misses.add(asked("What of berths?", "a1"), ["b1", "a1"])  # found
    misses.add(asked("What of berths?", "a1"), ["b1", "a2"])  # another chunk of its document
    misses.add(asked("What of it?", "b2"), ["a1", "c"])  # names nothing
    misses.add(asked("What of ferries?", "c"), ["d"])  # a copy of it
    misses.add(asked("What of lanterns?", "b2"), [])
    assert misses.counts() == MissCounts(questions=5, missed=4, of_document=1, alike=1, unnamed=1)
