"""The split by document, and near-duplicate questions that must not straddle it."""

import pytest

from data.questions.questions import Question
from data.questions.split import SplitSettings, split_documents, split_questions

IDS = [f"d{i:02}" for i in range(20)]


def question(number, wording, document_id):
    return Question(f"q{number}", wording, "A", ("A.",), document_id, ("c",), "given", "given")


@pytest.mark.parametrize(("fraction", "count"), [(0.25, 5), (0.5, 10), (0.01, 1), (0.99, 19)])
def test_the_fraction_of_the_documents_is_held_out(fraction, count):
    split = split_documents(IDS, SplitSettings(eval_fraction=fraction))
    assert len(split.eval) == count and sorted(split.train + split.eval) == IDS


def test_the_seed_decides_and_the_order_of_the_ids_does_not():
    split = split_documents(IDS, SplitSettings(seed=1))
    assert split == split_documents([*IDS[::-1], *IDS], SplitSettings(seed=1))
    assert split != split_documents(IDS, SplitSettings(seed=2))


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.2, 3), (0.01, 1), (0.99, 14)])
def test_validation_documents_are_taken_from_those_for_training(fraction, count):
    plain, split = (
        split_documents(IDS, SplitSettings()),
        split_documents(IDS, SplitSettings(validation_fraction=fraction)),
    )
    assert len(split.validation) == count
    assert split.eval == plain.eval
    assert sorted(split.train + split.validation) == list(plain.train)


def test_three_sides_need_three_documents():
    with pytest.raises(ValueError, match="2 documents have questions and 1 of them are held out for evaluation"):
        split_documents(["a", "b"], SplitSettings(validation_fraction=0.1))
    split = split_documents(["a", "b", "c"], SplitSettings(validation_fraction=0.9))
    assert len(split.train) == len(split.validation) == len(split.eval) == 1


def test_both_sides_have_a_document():
    split = split_documents(["a", "b"], SplitSettings(eval_fraction=0.9))
    assert len(split.train) == len(split.eval) == 1
    for ids in ([], ["a", "a"]):
        with pytest.raises(ValueError, match=f"{len(set(ids))} documents have questions: give at least 2"):
            split_documents(ids, SplitSettings())


def test_near_duplicates_do_not_straddle(embedder):
    split = split_documents(["a", "b"], SplitSettings())
    train, held_out = split.train[0], split.eval[0]
    questions = [
        question(0, "When was the mill built?", train),
        question(1, "when was the  mill built", held_out),
        question(2, "In which year was the mill built?", train),
        question(3, "Who feeds the goats?", train),
        question(4, "How tall is the mast?", held_out),
    ]

    def ids(**settings):
        result = split_questions(questions, split, SplitSettings(**settings), embedder.embed)
        assert [q.id for q in result.eval] == ["q1", "q4"]
        return [q.id for q in result.train], [q.id for q in result.dropped]

    assert ids(near_duplicate=1.0) == (["q2", "q3"], ["q0"])
    assert ids(near_duplicate=0.85) == (["q3"], ["q0", "q2"])


def test_near_duplicates_do_not_straddle_validation(embedder):
    settings = SplitSettings(validation_fraction=0.5)
    split = split_documents(["a", "b", "c"], settings)
    (train,), (validation,), (held_out,) = split.train, split.validation, split.eval
    questions = [
        question(0, "When was the mill built?", train),
        question(1, "Who feeds the goats?", train),
        question(2, "How tall is the mast?", train),
        question(3, "when was the mill  built", validation),
        question(4, "Where is the ferry moored?", validation),
        question(5, "where is the  ferry moored", held_out),
        question(6, "Who feeds the goats", held_out),
    ]
    result = split_questions(questions, split, settings, embedder.embed)
    assert [[q.id for q in part] for part in (result.train, result.validation, result.eval, result.dropped)] == [
        ["q2"],
        ["q3"],
        ["q5", "q6"],
        ["q0", "q1", "q4"],
    ]
    with pytest.raises(ValueError, match="all 1 validation questions nearly repeat evaluation questions"):
        split_questions([*questions[:3], *questions[4:]], split, settings, embedder.embed)
