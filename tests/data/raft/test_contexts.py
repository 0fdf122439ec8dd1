import numpy as np
import pytest

from data.documents.chunks import Chunk
from data.questions.questions import Question
from data.raft.contexts import form_groups, guarded_context, hidden_context
from data.raft.space import ChunkSpace
from testing.raft_corpus import Corpus, make_chunk, make_corpus, make_question


def space_of(corpus: Corpus) -> ChunkSpace:
    return ChunkSpace(corpus.chunks, corpus.vectors, 0.95)


def on_a_line(texts: list[str], spread: float = 0.3) -> tuple[list[Chunk], np.ndarray]:
    """Chunks "0", "1", ... whose distance grows with the difference of their numbers."""
    angles = spread * np.arange(len(texts))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return [make_chunk(str(n), text) for n, text in enumerate(texts)], vectors


def groups_of(space: ChunkSpace, questions: list[Question], size: int = 3, seed: int = 0):
    return form_groups(space, questions, size, np.random.default_rng(seed))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 24])
@pytest.mark.parametrize("seed", range(3))
def test_every_question_has_one_home_with_its_oracles(size, seed):
    corpus = make_corpus()
    space = space_of(corpus)
    groups = groups_of(space, corpus.questions, size, seed)
    homes = [place for group in groups for place in group.questions]
    assert sorted(homes) == list(range(len(corpus.questions)))
    for group in groups:
        assert len(set(group.rows)) == len(group.rows) == size
        for place in group.questions:
            assert set(space.oracle_rows(corpus.questions[place])) <= set(group.rows)


def test_groups_are_filled_with_chunks_near_by():
    """With clusters as large as a group, a group that starts in one stays there as long as it can."""
    corpus = make_corpus(documents=8, chunks=4)
    groups = groups_of(space_of(corpus), corpus.questions, size=4)
    assert len(groups) == 8
    assert all(len({corpus.chunks[row].document_id for row in group.rows}) == 1 for group in groups)


def test_chunks_without_questions_are_pure_distractors():
    chunks, vectors = on_a_line([f"fact {n}00." for n in range(6)])
    question = make_question("q", ("2",), "200", ("fact 200.",))
    (group,) = groups_of(ChunkSpace(chunks, vectors, 0.999), [question])
    assert set(group.rows) == {1, 2, 3}


def test_the_oracle_may_stand_anywhere_in_the_context():
    chunks, vectors = on_a_line([f"fact {n}00." for n in range(6)])
    question = make_question("q", ("2",), "200", ("fact 200.",))
    space = ChunkSpace(chunks, vectors, 0.999)
    places = {groups_of(space, [question], seed=seed)[0].rows.index(2) for seed in range(20)}
    assert places == {0, 1, 2}


def test_two_oracles_of_a_question_are_in_one_group_though_far_apart():
    chunks, vectors = on_a_line([f"fact {n}00." for n in range(8)])
    questions = [make_question(f"q{n}", (str(n),), f"{n}00", (f"fact {n}00.",)) for n in range(8)]
    far = make_question("far", ("0", "7"), "both", ("fact 000.", "fact 700."))
    for seed in range(4):
        groups = groups_of(ChunkSpace(chunks, vectors, 0.999), [*questions, far], seed=seed)
        (home,) = [group for group in groups if 8 in group.questions]
        assert {0, 7} <= set(home.rows) and {0, 7} <= set(home.questions)


def test_a_chain_of_tied_chunks_that_no_context_holds_gives_the_rest_groups_of_their_own():
    chunks, vectors = on_a_line([f"fact {n}00." for n in range(5)])
    chain = [
        make_question(f"q{n}", (str(n), str(n + 1)), f"x{n}", (f"fact {n}00.", f"fact {n + 1}00.")) for n in range(4)
    ]
    space = ChunkSpace(chunks, vectors, 0.999)
    groups = groups_of(space, chain)
    assert sorted(place for group in groups for place in group.questions) == [0, 1, 2, 3]
    for group in groups:
        assert all(set(space.oracle_rows(chain[place])) <= set(group.rows) for place in group.questions)


@pytest.mark.parametrize(
    ("answer", "text", "allowed"),
    [
        ("12", "There are 12 of them.", False),
        ("12", "There are 112 of them, and 125.", True),
        ("nine turns", "It makes NINE\n turns.", False),
        ("nine turns", "It makes nine slow turns.", True),
        ("cat", "The catalogue.", True),
        ("cat.", "A Cat sat.", False),
        ("$5", "It costs US$5 only.", False),
        ("C++", "Written in C++, mostly.", False),
        ("3", "It costs 3.5 marks, or 1,300.", True),
        ("水車", "島の水車は古い。", False),
        ("elsewhere", "A quote: the\nproof stands here. So.", False),  # the question's quote
    ],
)
def test_the_guard_knows_a_chunk_that_holds_the_answer(answer, text, allowed):
    chunks, vectors = on_a_line(["the proof stands here.", text])
    space = ChunkSpace(chunks, vectors, 0.999)
    question = make_question("q", ("0",), answer, ("the proof stands here.",))
    assert space.allows(question, 1) is allowed


@pytest.mark.parametrize(("near_duplicate", "allowed"), [(0.9, False), (0.99, True)])
def test_the_guard_knows_a_chunk_that_nearly_repeats_the_oracle(near_duplicate, allowed):
    chunks, vectors = on_a_line(["one.", "two."])  # a cosine of 0.955
    space = ChunkSpace(chunks, vectors, near_duplicate)
    assert space.allows(make_question("q", ("0",), "x", ("one.",)), 1) is allowed


def test_chunks_that_answer_each_others_questions_go_to_different_groups():
    """0 and 1 are nearest, but 1 holds the answer of 0's question."""
    chunks, vectors = on_a_line(["alpha is red.", "beta is red too, and green.", "gamma.", "delta.", "epsilon."])
    questions = [
        make_question("q0", ("0",), "red", ("alpha is red.",)),
        make_question("q1", ("1",), "green", ("and green.",)),
    ]
    space = ChunkSpace(chunks, vectors, 0.999)
    for seed in range(4):
        for group in groups_of(space, questions, seed=seed):
            assert len(group.rows) == 3
            for place in group.questions:
                assert guarded_context(space, questions[place], group.rows) == (group.rows, 0)


def test_a_false_distractor_is_replaced_in_its_place_by_the_nearest_allowed_chunk():
    chunks, vectors = on_a_line(["alpha is red.", "blue.", "red again.", "red once more.", "green."])
    question = make_question("q", ("0",), "red", ("alpha is red.",))
    space = ChunkSpace(chunks, vectors, 0.999)
    assert guarded_context(space, question, (2, 0, 1)) == ((4, 0, 1), 1)
    assert guarded_context(space, question, (2, 0, 3)) == ((1, 0, 4), 2)
    nothing_left = make_question("q2", ("0",), "red", ("alpha is red.",))
    assert guarded_context(space, nothing_left, (2, 0, 1, 4)) == ((0, 1, 4), 1)


def test_a_question_without_its_oracle_is_asked_over_a_near_group():
    corpus = make_corpus()
    space = space_of(corpus)
    groups = groups_of(space, corpus.questions, size=4)
    centres = np.stack([space.mean(group.rows) for group in groups])
    for group in groups:
        for place in group.questions:
            question = corpus.questions[place]
            rows, shared = hidden_context(space, question, group.rows, groups, centres)
            assert shared and rows in [other.rows for other in groups]
            assert not set(rows) & set(space.oracle_rows(question))


def test_a_question_without_its_oracle_and_without_a_near_group_keeps_its_place_in_its_own():
    chunks, vectors = on_a_line(["alpha is red.", "blue.", "green.", "white."])
    question = make_question("q", ("0",), "red", ("alpha is red.",))
    space = ChunkSpace(chunks, vectors, 0.999)
    (group,) = groups_of(space, [question])
    rows, shared = hidden_context(space, question, (1, 0, 2), [group], space.mean(group.rows)[None])
    assert (rows, shared) == ((1, 3, 2), False)


def test_an_oracle_that_is_no_chunk_is_an_error():
    chunks, vectors = on_a_line(["one.", "two."])
    space = ChunkSpace(chunks, vectors, 0.95)
    with pytest.raises(ValueError, match=r"the oracle 7 of question .* is none of the 2 chunks"):
        space.oracle_rows(make_question("q", ("7",), "x", ("one.",)))
    with pytest.raises(AssertionError, match="for 2 chunks"):
        ChunkSpace(chunks, vectors[:1], 0.95)


def test_the_guard_reads_headings_as_the_model_does():
    chunks = [make_chunk("a", "She mends nets.", headings=("Ada Fields",)), make_chunk("b", "Ada Fields mends nets.")]
    space = ChunkSpace(chunks, np.eye(2, dtype=np.float32), 0.95)
    question = make_question("q", ("b",), "Ada Fields", ("Ada Fields mends nets.",))
    assert not space.allows(question, 0)
