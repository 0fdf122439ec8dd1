"""The split by document: each keeps its side for life, and near-duplicate questions do not straddle it."""

import itertools
import unicodedata

import pytest

from data.documents.documents import make_document
from data.questions.questions import Question
from data.questions.split import LEAK_NOTE, SplitSettings, document_key, split_keys, split_questions

KEYS = [f"folder/document {i:02}.md" for i in range(40)]


def question(number, wording, document_id, answer="A"):
    return Question(f"q{number}", wording, answer, ("A.",), document_id, ("c",), "given", "given")


def side_of(split):
    return {key: part for part in ("train", "validation", "eval") for key in getattr(split, part)}


@pytest.mark.parametrize("seed", range(30))
def test_a_document_keeps_its_side_when_others_come_and_go(seed):
    settings = SplitSettings(seed=seed, validation_fraction=0.2)
    before = side_of(split_keys(KEYS, settings))
    for others in ([*KEYS, "new.md"], [*KEYS, *(f"new {i}.md" for i in range(40))], KEYS[:39], KEYS[5:]):
        after = side_of(split_keys(others, settings))
        kept = before.keys() & after.keys()
        assert {key: before[key] for key in kept} == {key: after[key] for key in kept}


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_the_share_is_met_on_average(fraction):
    sizes = [len(split_keys(KEYS, SplitSettings(seed=seed, eval_fraction=fraction)).eval) for seed in range(200)]
    assert sum(sizes) / len(sizes) == pytest.approx(40 * fraction, abs=1)
    validated = [
        split_keys(KEYS, SplitSettings(seed=seed, eval_fraction=0.5, validation_fraction=fraction))
        for seed in range(200)
    ]
    share = sum(len(split.validation) for split in validated) / sum(40 - len(split.eval) for split in validated)
    assert share == pytest.approx(fraction, abs=0.02)


def test_a_larger_share_only_adds():
    shares = [0.05, 0.2, 0.25, 0.5, 0.9]
    held_out = [set(split_keys(KEYS, SplitSettings(eval_fraction=share)).eval) for share in shares]
    assert all(less <= more for less, more in itertools.pairwise(held_out))


def test_the_seed_decides_and_the_order_does_not():
    split = split_keys(KEYS, SplitSettings(seed=1))
    assert split == split_keys([*KEYS[::-1], *KEYS], SplitSettings(seed=1))
    assert split.eval != split_keys(KEYS, SplitSettings(seed=2)).eval


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.99])
def test_evaluation_does_not_depend_on_validation(fraction):
    plain, split = split_keys(KEYS, SplitSettings()), split_keys(KEYS, SplitSettings(validation_fraction=fraction))
    assert split.eval == plain.eval and split.validation
    assert sorted(split.train + split.validation) == list(plain.train)


@pytest.mark.parametrize("validation", [0.0, 0.01, 0.99])
@pytest.mark.parametrize("share", [0.01, 0.25, 0.99])
@pytest.mark.parametrize("number", [2, 3, 4, 9])
def test_no_side_is_empty_and_as_few_move_as_can_be(number, share, validation):
    if validation and number < 3:
        return
    for seed in range(20):
        settings = SplitSettings(seed=seed, eval_fraction=share, validation_fraction=validation)
        split = split_keys(KEYS[:number], settings)
        assert split.train and split.eval and bool(split.validation) == bool(validation)
        assert sorted(split.train + split.validation + split.eval) == KEYS[:number]
        true_sides = side_of(split_keys(KEYS, settings))
        wrong = {key for key, side in side_of(split).items() if true_sides[key] != side}
        assert wrong <= set(split.moved) or split_keys(KEYS, settings).moved


def test_too_few_documents():
    for keys, have in (([], "0 documents have"), (["a", "a"], "1 document has")):
        with pytest.raises(ValueError, match=rf"{have} questions: give at least 2, .* or set split\.by=question"):
            split_keys(keys, SplitSettings())
    with pytest.raises(ValueError, match=r"2 documents have questions: give at least 3, .*validation_fraction to 0"):
        split_keys(["a", "b"], SplitSettings(validation_fraction=0.1))


def test_what_a_document_keeps_its_side_by():
    text = make_document("a/Müller.md", "One.")
    assert document_key(text) == document_key(make_document(unicodedata.normalize("NFD", "a/Müller.md"), "Two."))
    # A row that is inserted before it changes a row's number.
    row = make_document("table.csv#12", "One.")
    assert document_key(row) == document_key(make_document("table.csv#13", "One."))
    assert document_key(row) != document_key(make_document("table.csv#12", "Two."))
    assert document_key(row) != document_key(make_document("other.csv#12", "One."))


def corpus_of(settings, *parts):
    """Documents by id, of which each is on the wanted side."""
    waiting = [f"{number}.md" for number in range(40)]
    sides = side_of(split_keys(waiting, settings))
    documents = {}
    for part in parts:
        path = next(path for path in waiting if sides[path] == part)
        waiting.remove(path)
        document = make_document(path, f"Text of {path}.")
        documents[document.id] = document
    return documents


def split_of(questions, documents, settings, embedder):
    result = split_questions(questions, documents, settings, embedder.embed)
    return [[q.id for q in part] for part in (result.train, result.validation, result.eval, result.dropped)]


def test_near_duplicates_do_not_straddle(embedder):
    documents = corpus_of(SplitSettings(), "train", "eval")
    train, held_out = documents
    questions = [
        question(0, "When was the mill built?", train),
        question(1, "when was the  mill built", held_out),
        question(2, "In which year was the mill built?", train),
        question(3, "Who feeds the goats?", train),
        question(4, "How tall is the mast?", held_out),
    ]

    def ids(**settings):
        train, _, evaluation, dropped = split_of(questions, documents, SplitSettings(**settings), embedder)
        assert evaluation == ["q1", "q4"]
        return train, dropped

    assert ids(near_duplicate=1.0) == (["q2", "q3"], ["q0"])
    assert ids(near_duplicate=0.85) == (["q3"], ["q0", "q2"])


def test_near_duplicates_do_not_straddle_validation(embedder):
    settings = SplitSettings(validation_fraction=0.5)
    documents = corpus_of(settings, "train", "validation", "eval")
    train, validation, held_out = documents
    questions = [
        question(0, "When was the mill built?", train),
        question(1, "Who feeds the goats?", train),
        question(2, "How tall is the mast?", train),
        question(3, "when was the mill  built", validation),
        question(4, "Where is the ferry moored?", validation),
        question(5, "where is the  ferry moored", held_out),
        question(6, "Who feeds the goats", held_out),
    ]
    assert split_of(questions, documents, settings, embedder) == [["q2"], ["q3"], ["q5", "q6"], ["q0", "q1", "q4"]]
    with pytest.raises(ValueError, match="all 1 validation questions nearly repeat evaluation questions"):
        split_questions([*questions[:3], *questions[4:]], documents, settings, embedder.embed)


def test_questions_that_differ_in_a_number_stay(embedder):
    documents = corpus_of(SplitSettings(), "train", "eval")
    train, held_out = documents
    questions = [
        question(0, "Who holds locker 100?", train, "Ada Holm"),
        question(1, "Who holds locker 200?", held_out, "Bo Strand"),
        question(2, "who holds  locker 200", train, "Bo Strand"),
    ]
    low = SplitSettings(near_duplicate=0.5)
    assert split_of(questions, documents, low, embedder) == [["q0"], [], ["q1"], ["q2"]]


def test_what_was_drawn_is_told(embedder):
    documents = corpus_of(SplitSettings(), "train", "eval", "train")
    first, second, third = documents
    questions = [
        question(0, "Who?", first),
        question(1, "When was it?", second),
        question(2, "Where is the mill?", third),
        question(3, "How old is the ferryman?", third),
    ]
    facts = split_questions(questions, documents, SplitSettings(), embedder.embed).facts
    assert facts["documents"] == {"train": 2, "validation": 0, "eval": 1}
    assert facts["questions"] == {"train": 3, "validation": 0, "eval": 1}
    assert facts["note"].startswith(
        "1 of 3 documents (33%) are held out for evaluation, with 1 of 4 questions. The path"
    )
    assert "eval_fraction=0.25 is met on average" in facts["note"] and facts["moved"] == []
    unmet = {id: documents[id] for id in (first, third)}
    asked = [one for one in questions if one.document_id in unmet]
    facts = split_questions(asked, unmet, SplitSettings(), embedder.embed).facts
    assert len(facts["moved"]) == 1 and facts["moved"][0] in {document.path for document in unmet.values()}
    assert f"{facts['moved'][0]} changed sides, since one side would have been empty" in facts["note"]


def test_one_document_is_split_by_question_and_the_leak_is_said(embedder):
    document = make_document("only.md", "Text.")
    words = ["mill", "goats", "ferry", "mast", "keys", "bell", "school", "orchard"]
    questions = [question(i, f"Where can I see the {word}?", document.id, word) for i, word in enumerate(words)]
    with pytest.raises(ValueError, match=r"set split\.by=question"):
        split_questions(questions, {document.id: document}, SplitSettings(), embedder.embed)
    settings = SplitSettings(by="question", near_duplicate=1)
    result = split_questions(questions, {document.id: document}, settings, embedder.embed)
    assert result.train and result.eval and len(result.train + result.eval) == 8
    assert result.facts["by"] == "question" and result.facts["note"].endswith(LEAK_NOTE)
    fewer = split_questions(questions[2:], {document.id: document}, settings, embedder.embed)
    assert {q.id for q in fewer.eval} == {q.id for q in result.eval} - {"q0", "q1"} or fewer.facts["moved"]
