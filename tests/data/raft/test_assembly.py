"""The dataset as a whole: what is held out stays out, and what is mixed in is counted."""

import json
from dataclasses import replace

import numpy as np
import pytest

from data.raft.alpaca import GENERAL
from data.raft.assembly import Assembler
from data.raft.mixing import GeneralRecord, read_general
from data.raft.settings import RaftSettings
from data.raft.sharing import sharing_counts
from testing.raft_corpus import Corpus, make_chunk, make_corpus
from testing.small_tokenizers import smollm2

ALL = {"oracle_fraction": 1.0}
GENERAL_RECORDS = [
    GeneralRecord(f"Write the number {n}.", "" if n % 2 else "In words.", f"Number {n}.") for n in range(60)
]


def embed(texts) -> np.ndarray:
    """Equal texts are near, others are not."""
    vectors = [np.random.default_rng(list(text.encode())).normal(size=48) for text in texts]
    stacked = np.array(vectors, np.float32).reshape(len(texts), 48)
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def assembler(corpus: Corpus, **settings) -> Assembler:
    return Assembler(corpus.chunks, corpus.vectors, RaftSettings(**settings), smollm2(), embed, question_cosine=0.95)


def split_of(corpus: Corpus):
    held_out = [question for question in corpus.questions if question.document_id == "d0"]
    return [question for question in corpus.questions if question.document_id != "d0"], held_out


def test_what_is_held_out_is_not_shown():
    corpus = make_corpus()
    asked, held_out = split_of(corpus)
    part = assembler(corpus).build("training", asked, held_out)
    assert len(part.records) == len(part.sequences) == 40 and not part.rejected
    assert not any(id.startswith("0.") for record in part.records for id in record.context_ids)
    assert part.leaks.leaks == [] and part.leaks.part == "training"


def test_a_split_by_question_shows_the_documents_of_held_out_questions():
    corpus = make_corpus(documents=1)
    held_out, asked = corpus.questions[::4], [q for n, q in enumerate(corpus.questions) if n % 4]
    apart = assembler(corpus)
    apart.documents_apart = False
    part = apart.build("training", asked, held_out)
    assert len(part.records) == 6 and not part.rejected and not part.leaks.leaks
    assert {id for record in part.records for id in record.context_ids} == {chunk.id for chunk in corpus.chunks}
    # Their questions are held out all the same.
    part = apart.build("training", [*asked, held_out[0]], held_out)
    assert [item.reason for item in part.rejected] == ["question nearly repeats a held-out one"]


def test_a_question_that_differs_in_a_number_from_a_held_out_one_stays():
    corpus = make_corpus()
    asked, held_out = split_of(corpus)
    asked[0] = replace(asked[0], question="Who holds locker 100?")
    held_out[0] = replace(held_out[0], question="Who holds locker 200?")
    held_out[1] = replace(held_out[1], question="Who has locker 100?", answer=asked[0].answer)
    built = assembler(corpus)
    built.embed = lambda texts: embed(["Who?" if "locker" in text else text for text in texts])
    part = built.build("training", asked, held_out[:1])
    assert len(part.records) == 40 and not part.rejected and not part.leaks.leaks
    part = built.build("training", asked, held_out[:2])
    assert len(part.records) == 39 and len(part.rejected) == 1 and not part.leaks.leaks


def test_a_chunk_that_repeats_a_held_out_one_is_left_out_with_its_questions():
    corpus = make_corpus()
    vectors = corpus.vectors.copy()
    vectors[6] = vectors[1]  # "1.2" repeats "0.1"
    corpus = Corpus(corpus.questions, corpus.chunks, vectors)
    part = assembler(corpus).build("training", *split_of(corpus))
    assert not any("1.2" in record.context_ids for record in part.records)
    assert {item.reason for item in part.rejected} == {"oracle nearly repeats a chunk of a held-out document"}
    assert len(part.rejected) == 2 and len(part.records) == 38 and part.counts["questions"] == 40
    assert part.counts["chunks kept out that nearly repeat held-out ones"] == 1
    assert [leak.shown for leak in part.leaks.kept_out] == ["1.2"] and not part.leaks.leaks
    with_it = assembler(corpus, leak_cosine=1.0, leak_words=1.0)
    corpus.vectors[6] = corpus.vectors[5]
    assert len(with_it.build("training", *split_of(corpus)).records) == 40


def test_the_share_of_words_counts_too():
    corpus = make_corpus()
    chunks = [*corpus.chunks, make_chunk("copy", corpus.chunks[0].text + " So.", "d9")]
    corpus = Corpus(corpus.questions, chunks, np.vstack([corpus.vectors, corpus.vectors[8]]).astype(np.float32))
    for words, kept_out in ((0.8, ["copy"]), (1.0, [])):
        part = assembler(corpus, leak_words=words).build("training", *split_of(corpus))
        assert [leak.shown for leak in part.leaks.kept_out] == kept_out


def test_a_question_that_repeats_a_held_out_one_is_left_out():
    corpus = make_corpus()
    asked, held_out = split_of(corpus)
    asked[3] = replace(asked[3], question=held_out[2].question.lower())
    part = assembler(corpus).build("training", asked, held_out)
    assert [item.reason for item in part.rejected] == ["question nearly repeats a held-out one"]
    assert part.counts["rejected: question nearly repeats a held-out one"] == 1 and len(part.records) == 39


def test_nothing_left_is_one_clear_error():
    corpus = make_corpus()
    _, held_out = split_of(corpus)
    with pytest.raises(ValueError, match=r"all 2 questions or their oracles nearly repeat held-out ones: raise"):
        assembler(corpus).build("training", [replace(q, id=f"{q.id}x") for q in held_out[:2]], held_out)


def test_general_records_are_the_share_that_is_wanted():
    corpus = make_corpus()
    asked, held_out = split_of(corpus)
    settings = {**ALL, "mix_file": "x.json", "mix_fraction": 0.2}
    part = assembler(corpus, **settings).build("training", asked, held_out, GENERAL_RECORDS)
    mixed = [record for record in part.records if record.source == GENERAL]
    assert len(part.records) == len(part.sequences) == 50 and len(mixed) == 10 == part.counts["mixed in"]
    assert len({record.id for record in part.records}) == 50
    assert all(not record.context_ids and "Number" in record.output for record in mixed)
    again = assembler(corpus, **settings).build("training", asked, held_out, GENERAL_RECORDS)
    assert again.records == part.records
    other = assembler(corpus, **settings, seed=1).build("training", asked, held_out, GENERAL_RECORDS)
    assert {r.id for r in other.records if r.source == GENERAL} != {r.id for r in mixed}


def test_general_records_that_give_a_held_out_question_away_or_do_not_fit_are_passed_over():
    corpus = make_corpus()
    asked, held_out = split_of(corpus)
    bad = [GeneralRecord(question.question, "", "Told.") for question in held_out]
    long = [GeneralRecord(f"Read {n}", "word " * 3000, "Done.") for n in range(4)]
    settings = {**ALL, "mix_file": "x.json", "mix_fraction": 0.5}
    marked = GeneralRecord("Forge.", "", "Sure.\n##Answer: FREE")
    part = assembler(corpus, **settings).build("training", asked, held_out, [*bad, *long, marked, *GENERAL_RECORDS])
    mixed = [record for record in part.records if record.source == GENERAL]
    assert len(mixed) == 40 and all(record.output.startswith("Number") for record in mixed)
    passed_over = [part.counts[f"general records {why}"] for why in ("near a held-out question", "over the budget")]
    assert 0 < passed_over[0] <= 8 and 0 < passed_over[1] <= 4
    with pytest.raises(ValueError, match=r"needs 40 general records, but mix_file has 5 usable ones: lower"):
        assembler(corpus, **settings).build("training", asked, held_out, [*bad, *GENERAL_RECORDS[:5]])


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_general_records_are_read(tmp_path, suffix):
    items = [
        {"instruction": "Say a.", "output": "a", "text": "more"},
        {"instruction": "Say b.", "input": "b", "output": "b"},
    ]
    items += items[:1]
    path = tmp_path / f"alpaca{suffix}"
    path.write_text(json.dumps(items) if suffix == ".json" else "\n".join(map(json.dumps, items)) + "\n")
    assert read_general(path) == [GeneralRecord("Say a.", "", "a"), GeneralRecord("Say b.", "b", "b")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("{}", "holds no list of records"),
        ("[]", "holds no list of records"),
        ('["a"]', "item 1 must be an object with the strings instruction, input and output"),
        ('[{"instruction": "a", "output": 3}]', "item 1 must be an object"),
        ('[{"instruction": "a", "output": " "}]', "item 1: instruction and output must not be empty"),
        ('[{"instruction": "a", "output": "\\ud800"}]', "item 1 holds an unpaired surrogate"),
    ],
)
def test_broken_general_records_are_named(tmp_path, content, message):
    path = tmp_path / "alpaca.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_general(path)


def test_what_sharing_saves():
    corpus = make_corpus()
    asked, held_out = split_of(corpus)
    shared = assembler(corpus, **ALL).build("training", asked, held_out)
    alone = assembler(corpus, **ALL, questions_per_context=1).build("training", asked, held_out)
    total = sum(len(sequence.tokens) for sequence in shared.sequences)
    counts = sharing_counts(shared.records, shared.sequences)
    assert counts["tokens of all examples"] == total == shared.counts["tokens of all examples"]
    assert counts["tokens stored, each shared prefix once"] + counts["tokens saved by sharing"] == total
    assert counts["tokens saved by sharing"] > total / 2
    assert alone.counts["tokens saved by sharing"] == 0
    # Counted by hand for the first group.
    first = [
        s.tokens.tolist()
        for r, s in zip(shared.records, shared.sequences, strict=True)
        if r.group_id == shared.records[0].group_id
    ]
    prefix = next(n for n in range(len(first[0])) if len({tuple(tokens[: n + 1]) for tokens in first}) > 1)
    of_first = [
        (r, s)
        for r, s in zip(shared.records, shared.sequences, strict=True)
        if r.group_id == shared.records[0].group_id
    ]
    assert sharing_counts(*zip(*of_first, strict=True))["tokens saved by sharing"] == prefix * (len(first) - 1)
