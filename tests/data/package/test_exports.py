"""The formats of other trainers, each as its reader wants it."""

from dataclasses import replace

import pytest

from data.package.exports import Exporter
from data.prompting.prompts import parse_output
from data.raft.alpaca import GENERAL, AlpacaRecord, to_records
from data.raft.examples import build_examples
from data.raft.settings import RaftSettings
from data.report.highlight import mark_quotes, show_example
from testing.raft_corpus import make_corpus
from testing.small_tokenizers import smollm2

MIXED = AlpacaRecord("general-1", "Say a.", "Twice.", "a a", "", "general-1", (), (), False, GENERAL)


@pytest.fixture(scope="module")
def corpus():
    return make_corpus(documents=2)


@pytest.fixture(scope="module")
def records(corpus):
    settings = RaftSettings(oracle_fraction=0.8)
    built = build_examples(corpus.questions, corpus.chunks, corpus.vectors, settings, smollm2())
    return [*to_records(built.examples, corpus.chunks), MIXED]


@pytest.fixture(scope="module")
def by_id(corpus):
    return {chunk.id: chunk for chunk in corpus.chunks}, {question.id: question for question in corpus.questions}


@pytest.fixture(scope="module")
def rows(records, by_id):
    exporter = Exporter(*by_id)
    return {name: list(exporter.rows(name, records)) for name in exporter.formats}


def test_gorillas_columns(rows, records, by_id):
    chunks, questions = by_id
    assert len(rows["gorilla-hf"]) == len(records) - 1
    for row, record in zip(rows["gorilla-hf"], records, strict=False):
        assert list(row) == ["id", "type", "question", "context", "oracle_context", "cot_answer", "instruction"]
        (shown,), (titles,) = row["context"]["sentences"], row["context"]["title"]
        assert shown == [chunks[id].text for id in record.context_ids] and len(titles) == len(shown)
        assert row["oracle_context"] == chunks[record.oracle_ids[0]].text
        assert (row["oracle_context"] in shown) == record.oracle_shown
        assert row["instruction"] == "".join(f"<DOCUMENT>{text}</DOCUMENT>\n" for text in shown) + row["question"]
        # raft.py's evaluation takes what follows the last "<ANSWER>:".
        assert row["cot_answer"].split("<ANSWER>:")[-1].strip() == parse_output(record.output).answer
        assert "##Answer" not in row["cot_answer"] and "##Reason" not in row["cot_answer"]
        assert row["question"] == questions[record.question_id].question


def test_gorillas_other_formats_are_made_from_these_columns(rows):
    base = rows["gorilla-hf"]
    completions = [{"prompt": row["instruction"], "completion": row["cot_answer"]} for row in base]
    assert rows["gorilla-completion"][:-1] == completions
    assert rows["gorilla-completion"][-1] == {"prompt": "Say a.\n\nTwice.", "completion": "a a"}
    for row, chat in zip(rows["gorilla-completion"], rows["gorilla-chat"], strict=True):
        user, assistant = chat["messages"]
        assert user == {"role": "user", "content": row["prompt"]}
        assert assistant == {"role": "assistant", "content": row["completion"]}
    for row, asked in zip(base, rows["gorilla-eval"], strict=True):
        context = "\n".join(row["context"]["sentences"][0])
        assert asked == {"question": row["question"], "answer": row["cot_answer"], "context": context}


def test_chats_hold_what_is_trained_here(rows, records):
    for record, messages, shared in zip(records, rows["messages"], rows["sharegpt"], strict=True):
        assert [turn["content"] for turn in messages["messages"]] == [record.prompt.message, record.output]
        assert [turn["value"] for turn in shared["conversations"]] == [record.prompt.message, record.output]
        assert [turn["from"] for turn in shared["conversations"]] == ["human", "gpt"]


def test_quotes_are_marked_whatever_the_white_space():
    assert mark_quotes("A b\nc. D e.", ["b c."]) == (("A ", False), ("b\nc.", True), (" D e.", False))
    assert mark_quotes("a.b", ["."]) == (("a", False), (".", True), ("b", False))
    assert mark_quotes("a", []) == mark_quotes("a", [" "]) == (("a", False),)


def test_an_example_shows_its_oracle_and_its_quote(records, by_id):
    record = next(record for record in records if record.oracle_shown)
    shown = show_example(record, *by_id)
    (oracle,) = [chunk for chunk in shown.chunks if chunk.oracle]
    (quote,) = [text for text, quoted in oracle.pieces if quoted]
    assert quote == parse_output(record.output).quotes[0]
    assert "".join(text for text, _ in shown.output) == record.output
    mixed = show_example(replace(MIXED, output="x"), *by_id)
    assert mixed.question == "Say a.\n\nTwice." and mixed.chunks == () and mixed.source == "general"
