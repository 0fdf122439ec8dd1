"""Every quote that is trained can be written under the grammar: of the samples, and of texts of all kinds."""

import random
from pathlib import Path

import numpy as np
import pytest

from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.corpus import read_documents
from data.documents.documents import make_document
from data.prompting.prompts import raft_output
from data.prompting.quoting import quote_grammar
from data.questions.grounding import ground_questions
from data.questions.question_files import read_questions
from data.questions.questions import QuestionSettings, RawQuestion
from data.questions.repair import Repairs
from jora_model.generation.guide import Grammars
from testing.small_tokenizers import smollm2
from testing.written_quotes import can_be_written

SAMPLES = Path(__file__).parents[3] / "data" / "samples"


def count_words(texts):
    return [len(text.split()) for text in texts]


def letters(texts):
    """Vectors by the first letters: which candidate is the nearest does not matter here."""
    return np.stack([np.bincount([ord(c) % 32 for c in text[:60]], minlength=32) / 60 for text in texts])


def ground(raws, documents, chunks, **settings):
    return ground_questions(
        raws, documents, chunks, QuestionSettings(**settings), letters, lambda *_: [], (), Repairs(2)
    )


def check(questions, chunks):
    by_id = {chunk.id: chunk for chunk in chunks}
    for question in questions:
        for quote in question.quotes:
            oracles = [by_id[oracle] for oracle in question.oracle_ids]
            assert any(can_be_written(quote, chunk) for chunk in oracles), (question.question, quote)


@pytest.mark.parametrize("max_tokens", [110, 40])
def test_all_quotes_of_the_samples_can_be_written(max_tokens):
    documents = read_documents(SAMPLES / "documents")
    chunks = chunk_documents(documents, count_words, ChunkSettings(max_tokens=max_tokens))
    raws = read_questions(SAMPLES / "questions.jsonl")
    unquoted = [RawQuestion(f"{raw.question} And?", raw.answer, document=raw.document) for raw in raws]
    questions, rejected = ground([*raws, *unquoted], documents, chunks)
    assert not rejected
    check(questions, chunks)
    # By llguidance itself, for some.
    tokenizer = smollm2()
    backend = tokenizer._tokenizer
    grammars = Grammars(backend.name_or_path, len(backend), (tokenizer.end_id("chat"),))
    by_id = {chunk.id: chunk for chunk in chunks}
    for question in questions[:: len(questions) // 6]:
        guide = grammars.guide(quote_grammar([by_id[oracle] for oracle in question.oracle_ids]))
        for token in tokenizer.encode_targets([raft_output(question.answer, question.quotes)], "chat")[0]:
            assert guide.allowed[token // 8] >> (token % 8) & 1, question.quotes
            guide.take(token, token)


def random_text(rng: random.Random) -> str:
    def words(most, least=1):
        return " ".join(
            rng.choice(WORDS) + str(rng.randrange(99)) * (rng.random() < 0.2) for _ in range(rng.randint(least, most))
        )

    def paragraph():
        kind = rng.randrange(9)
        lines = range(rng.randint(1, 7))
        if kind == 0:
            return " ".join(words(14).capitalize() + rng.choice(".!?") for _ in lines)
        if kind == 1:
            return "\n".join(f"{rng.choice(WORDS)}: {words(40)}" for _ in lines)
        if kind == 2:
            return "\n".join(f"- {words(12)}{rng.choice(['', '.'])}" for _ in lines)
        if kind == 3:
            rows = [f"| {words(6)} | {words(60)} |" for _ in lines]
            return "\n".join([rows[0], "| --- | --- |", *rows[1:]])
        if kind == 4:
            return "\n".join(f"2026-11-0{n + 1} 10:0{n} INFO {words(9)}" for n in lines)
        if kind == 5:
            return "```python\n" + "\n".join(f"{rng.choice(WORDS)}({words(3)})" for _ in lines) + "\n```"
        if kind == 6:
            return f"{'#' * rng.randint(1, 4)} {words(4).capitalize()}"
        if kind == 7:
            return "".join(rng.choice("工业革命首先在英国开始然后传播到大陆") for _ in range(rng.randint(3, 60))) + "。"
        return f"{words(5)} {rng.choice(['##Answer:', '##end_quote##', '##begin_quote'])} {words(5)}."

    return "\n\n".join(paragraph() for _ in range(rng.randint(1, 9)))


WORDS = [
    "mill",
    "wheel",
    "water",
    "stone",
    "keeper",
    "flour",
    "harbour",
    "gate",
    "rope",
    "lamp",
    "goat",
    "boat",
    "winter",
    "tide",
    "miller",
    "press",
    "gear",
    "kiln",
]


def test_all_quotes_of_texts_of_all_kinds_can_be_written():
    rng = random.Random(5)
    cut = 0
    for _ in range(60):
        document = make_document(rng.choice(["a.md", "a.txt"]), random_text(rng))
        settings = ChunkSettings(max_tokens=rng.choice([16, 30, 120]), overlap_tokens=rng.choice([0, 8]))
        chunks = chunk_documents([document], count_words, settings)
        places = [
            match for match in range(len(document.text)) if document.text[match - 1 : match].isspace() or not match
        ]
        raws = []
        for question in range(30):
            start = rng.choice(places)
            slice_ = document.text[start : start + rng.randint(2, 160)].strip()
            if "##" in slice_ or not any(map(str.isalpha, slice_)):
                continue
            given = question % 2 == 0
            answer = "x" if given else slice_
            raws.append(RawQuestion(f"Which {question}?", answer, (slice_,) if given else (), "a"))
        questions, rejected = ground(raws, [document], chunks)
        # An answer that ends inside a word does not stand there; nothing else is lost.
        assert {item.reason for item in rejected} <= {"answer not in document"}, rejected
        check(questions, chunks)
        cut += sum(len(question.oracle_ids) > 1 for question in questions)
    assert cut > 20, "texts too short to tell anything"
