from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from data.prompting.prompts import ABSTENTION, fold_space, parse_output
from data.raft.alpaca import to_records
from data.raft.examples import RaftBuild, build_examples, shown_count
from data.raft.sequences import TokenSequence, encode_records
from data.raft.settings import RaftSettings
from data.raft.space import ChunkSpace
from testing.raft_corpus import Corpus, make_chunk, make_corpus
from testing.small_tokenizers import smollm2


def build(settings: RaftSettings | None = None, corpus: Corpus | None = None) -> RaftBuild:
    corpus = corpus or make_corpus()
    return build_examples(
        corpus.questions,
        corpus.chunks,
        corpus.vectors,
        settings or RaftSettings(),
        smollm2(),
        question_vectors=question_vectors(corpus),
    )


def question_vectors(corpus: Corpus) -> np.ndarray:
    """Any: nearest to which chunk is drawn."""
    return np.random.default_rng(5).normal(size=(len(corpus.questions), 32)).astype(np.float32)


def sequences(built: RaftBuild, corpus: Corpus, style: str = "chat") -> list[TokenSequence]:
    return encode_records(to_records(built.examples, corpus.chunks), smollm2(), style)


@pytest.mark.parametrize("fraction", [0.0, 0.35, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("policy", ["abstain", "answer"])
def test_oracle_fraction_is_exact(fraction, policy):
    corpus = make_corpus()
    built = build(RaftSettings(oracle_fraction=fraction, no_oracle=policy), corpus)
    assert len(built.examples) == len(corpus.questions) == 48 and not built.rejected
    shown = [example for example in built.examples if example.oracle_shown]
    assert len(shown) == {0.0: 0, 0.35: 17, 0.5: 24, 0.8: 38, 1.0: 48}[fraction]
    assert built.counts["with their oracles"] == len(shown)
    for example in built.examples:
        in_context = set(example.oracle_ids) & set(example.context_ids)
        assert in_context == (set(example.oracle_ids) if example.oracle_shown else set())


@pytest.mark.parametrize(("fraction", "examples", "shown"), [(0.5, 3, 2), (0.145, 100, 15), (0.35, 10, 4), (0.8, 1, 1)])
def test_halves_are_rounded_up_in_decimal(fraction, examples, shown):
    assert shown_count(fraction, examples) == shown


@pytest.mark.parametrize("seed", range(3))
def test_contexts_hold_each_chunk_once_and_pass_the_guard(seed):
    corpus = make_corpus()
    # Words that other chunks hold as well.
    questions = [replace(q, answer="4" if n % 3 else "gears") for n, q in enumerate(corpus.questions)]
    corpus = Corpus(questions, corpus.chunks, corpus.vectors)
    built = build(RaftSettings(context_chunks=4, oracle_fraction=0.6, seed=seed), corpus)
    space = ChunkSpace(corpus.chunks, corpus.vectors, 0.95)
    rows = {chunk.id: row for row, chunk in enumerate(corpus.chunks)}
    questions_by_id = {question.id: question for question in corpus.questions}
    assert built.counts["distractors replaced by the guard"] > 0
    for example in built.examples:
        assert len(set(example.context_ids)) == len(example.context_ids)
        for chunk_id in set(example.context_ids) - set(example.oracle_ids):
            assert space.allows(questions_by_id[example.question_id], rows[chunk_id])


def test_examples_have_as_many_chunks_as_wanted_and_share_contexts():
    built = build()
    assert all(len(example.context_ids) == 5 for example in built.examples)
    assert built.counts["with fewer chunks"] == 0
    # 24 chunks in groups of 5; those without their oracles join other groups.
    assert built.counts["contexts"] <= 10
    assert built.counts["without their oracles, over a near group"] == built.counts["without their oracles"]
    order = [example.group_id for example in built.examples]
    assert len([1 for a, b in pairwise(order) if a != b]) == built.counts["contexts"] - 1


@pytest.mark.parametrize("style", ["chat", "alpaca"])
def test_examples_of_a_group_share_their_prompt_token_for_token(style):
    corpus = make_corpus()
    built = build(RaftSettings(prompt_style=style), corpus)
    encoded = sequences(built, corpus, style)
    chunks = {chunk.id: chunk for chunk in corpus.chunks}
    pairs = 0
    for (a, first), (b, second) in combinations(zip(built.examples, encoded, strict=True), 2):
        if a.group_id == b.group_id:
            pairs += 1
            documents = sum(smollm2().count_tokens([chunks[id].text for id in a.context_ids]))
            shared = np.argmin(first.tokens[: len(second.tokens)] == second.tokens[: len(first.tokens)])
            assert shared > documents and "Question:" in smollm2().decode(first.tokens[:shared])
    assert pairs > 100


def test_quotes_stand_in_the_context_and_in_the_output():
    corpus = make_corpus()
    chunks = {chunk.id: chunk for chunk in corpus.chunks}
    for example in build(RaftSettings(oracle_fraction=0.5), corpus).examples:
        parsed = parse_output(example.output)
        assert parsed.answer == example.answer and parsed.quotes == example.quotes
        assert bool(example.quotes) == example.oracle_shown
        shown = fold_space(" ".join(chunks[id].text for id in example.context_ids))
        assert all(fold_space(quote) in shown for quote in parsed.quotes)


@pytest.mark.parametrize("policy", ["abstain", "answer"])
def test_examples_without_their_oracles_follow_the_policy(policy):
    corpus = make_corpus()
    answers = {question.id: question.answer for question in corpus.questions}
    for example in build(RaftSettings(oracle_fraction=0.0, no_oracle=policy), corpus).examples:
        assert example.answer == (ABSTENTION if policy == "abstain" else answers[example.question_id])
        assert parse_output(example.output).abstained == (policy == "abstain")
        assert example.quotes == () and example.reason is None


def test_same_seed_same_examples_other_seed_others():
    assert build(RaftSettings(seed=3)) == build(RaftSettings(seed=3))
    assert build(RaftSettings(seed=3)).examples != build(RaftSettings(seed=4)).examples


CHANGES = {
    "order": "best_first",
    "context_chunks": 3,
    "oracle_fraction": 0.5,
    "no_oracle": "answer",
    "passes": 2,
    "near_duplicate": 0.7,
    "prompt_style": "alpaca",
    "max_tokens": 300,
    "seed": 1,
    "fewest_chunks": 1,
    "hardness": (5, 12),
    "questions_per_context": 1,
}
# test_assembly.py
OF_THE_WHOLE_DATASET = {"leak_cosine", "leak_words", "guard_reranker", "guard_margin", "mix_file", "mix_fraction"}
# test_tokenizer.py: SmolLM2's template writes no date.
OF_SOME_TEMPLATES = {"prompt_date"}


@pytest.mark.parametrize("name", sorted(RaftSettings.model_fields.keys() - OF_THE_WHOLE_DATASET - OF_SOME_TEMPLATES))
def test_every_setting_changes_the_tokens(name):
    corpus = make_corpus()
    before, after = RaftSettings(), RaftSettings(**{name: CHANGES[name]})
    one, other = (sequences(build(settings, corpus), corpus, settings.prompt_style) for settings in (before, after))
    assert [s.tokens.tolist() for s in one] != [s.tokens.tolist() for s in other]


def test_sizes_are_drawn_for_each_context():
    built = build(RaftSettings(fewest_chunks=2, context_chunks=5, oracle_fraction=1.0))
    sizes = {example.group_id: len(example.context_ids) for example in built.examples}
    assert set(sizes.values()) <= {2, 3, 4, 5} and len(set(sizes.values())) > 2
    alone = build(RaftSettings(fewest_chunks=1, context_chunks=4, questions_per_context=1, oracle_fraction=1.0))
    assert {len(example.context_ids) for example in alone.examples} == {1, 2, 3, 4}
    assert built.counts["with fewer chunks"] == alone.counts["with fewer chunks"] == 0


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("fraction", [1.0, 0.6])
def test_questions_of_a_context_are_at_most_as_many_as_wanted(most, fraction):
    built = build(RaftSettings(questions_per_context=most, oracle_fraction=fraction))
    sharing = Counter(example.group_id for example in built.examples)
    assert max(sharing.values()) <= most and len(built.examples) == 48
    assert all(len(example.context_ids) == 5 for example in built.examples)
    assert build(RaftSettings(questions_per_context=most)) == build(RaftSettings(questions_per_context=most))


@pytest.mark.parametrize("ranks", [(1, 6), (4, 12), (9, 16)])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_distractors_come_from_the_ranks_that_are_wanted(ranks, fraction):
    corpus = make_corpus()
    row = {chunk.id: place for place, chunk in enumerate(corpus.chunks)}
    settings = RaftSettings(hardness=ranks, questions_per_context=1, oracle_fraction=fraction)
    for example in build(settings, corpus).examples:
        (oracle,) = example.oracle_ids
        nearness = corpus.vectors @ corpus.vectors[row[oracle]]
        nearness[row[oracle]] = -2
        ranking = np.argsort(-nearness, kind="stable").tolist()
        found = [ranking.index(row[id]) + 1 for id in example.context_ids if id != oracle]
        assert found and all(ranks[0] <= rank <= ranks[1] for rank in found)


def test_ranks_beyond_the_last_chunk_leave_the_oracles_alone():
    built = build(RaftSettings(hardness=(30, 40), oracle_fraction=1.0))
    assert all(set(e.context_ids) >= set(e.oracle_ids) for e in built.examples)
    assert built.counts["with fewer chunks"] == 48


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fewest_chunks": 6}, "fewest_chunks=6 exceeds context_chunks=5"),
        ({"hardness": (0, 5)}, r"hardness=\[0, 5\] must be a first and a last rank"),
        ({"hardness": (5, 4)}, "must be a first and a last rank"),
        ({"hardness": (1, 3)}, "leaves 3 chunks, but a context of context_chunks=5 needs 4 distractors"),
        ({"mix_fraction": 0.1}, "mix_file and mix_fraction go together: give mix_file too"),
        ({"mix_file": "x.json"}, "give mix_fraction above 0 too"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RaftSettings(**settings)


def test_the_score_of_a_cross_encoder_keeps_chunks_out():
    """One that finds Brine's chunks nearly as good as the oracle, and the others not."""
    corpus = make_corpus()

    def score(pairs):
        names = [question.split("gears of ")[1].split("'")[0] for question, _ in pairs]
        told = zip(names, (text for _, text in pairs), strict=True)
        return np.array([0.9 if name in text else 0.85 if "Brine" in text else 0.5 for name, text in told], np.float32)

    settings = RaftSettings(guard_reranker="given", guard_margin=0.1, oracle_fraction=1.0)
    guarded = build_examples(corpus.questions, corpus.chunks, corpus.vectors, settings, smollm2(), score)
    assert guarded.counts["chunks kept from a question by the re-ranker alone"] > 0
    texts = {chunk.id: chunk.text for chunk in corpus.chunks}
    shown = [texts[id] for e in guarded.examples for id in e.context_ids if id not in e.oracle_ids]
    assert len(shown) > 4 * 40 and not any("Brine" in text for text in shown)


def test_passes_ask_each_question_over_different_contexts():
    built = build(RaftSettings(passes=3, oracle_fraction=1.0))
    assert len(built.examples) == 3 * 48 and len({example.id for example in built.examples}) == 3 * 48
    contexts: dict[str, set[str]] = {}
    for example in built.examples:
        contexts.setdefault(example.question_id, set()).add(example.group_id)
    assert np.mean([len(groups) for groups in contexts.values()]) > 2


def test_over_the_budget_distractors_go_first_and_nothing_else():
    corpus = make_corpus()
    full = RaftSettings(oracle_fraction=0.8)
    tight = RaftSettings(oracle_fraction=0.8, max_tokens=380)
    longest = max(len(sequence.tokens) for sequence in sequences(build(full, corpus), corpus))
    built = build(tight, corpus)
    encoded = sequences(built, corpus)
    assert longest > 380 >= max(len(sequence.tokens) for sequence in encoded)
    assert len(built.examples) == 48 and built.counts["with their oracles"] == 38 and not built.rejected
    assert built.counts["with fewer chunks"] > 0
    texts = {chunk.id: chunk.text for chunk in corpus.chunks}
    for example, sequence in zip(built.examples, encoded, strict=True):
        text = smollm2().decode(sequence.tokens)
        assert example.question in text and text.endswith(example.output)
        assert all(texts[id] in text for id in example.context_ids)
        assert example.context_ids


def test_over_the_budget_the_farthest_distractor_goes_first_and_the_order_stays():
    corpus = make_corpus()
    vectors = dict(zip((chunk.id for chunk in corpus.chunks), corpus.vectors, strict=True))
    full = build(RaftSettings(oracle_fraction=1.0), corpus)
    tight = {e.id: e for e in build(RaftSettings(oracle_fraction=1.0, max_tokens=380), corpus).examples}
    shortened = 0
    for example in full.examples:
        kept = tight[example.id].context_ids
        gone = [id for id in example.context_ids if id not in kept]
        shortened += bool(gone)
        assert kept == tuple(id for id in example.context_ids if id in kept)
        (oracle,) = example.oracle_ids
        cosines = {id: float(vectors[id] @ vectors[oracle]) for id in example.context_ids if id != oracle}
        stayed = [cosines[id] for id in kept if id != oracle]
        assert all(cosines[id] < min(stayed, default=2) for id in gone)
    assert shortened > 10


def test_a_question_that_cannot_fit_is_rejected_and_counted():
    corpus = make_corpus()
    long = replace(corpus.questions[0], question="How " + "very " * 300 + "long?")
    corpus = Corpus([long, *corpus.questions[1:]], corpus.chunks, corpus.vectors)
    built = build(RaftSettings(max_tokens=400), corpus)
    (rejected,) = built.rejected
    assert rejected.reason == "context over the budget" and "needs at least" in rejected.detail
    assert built.counts["rejected: context over the budget"] == 1
    assert len(built.examples) == 47 and built.counts["with their oracles"] == shown_count(0.8, 47)


def test_a_budget_in_which_nothing_fits_is_one_clear_error():
    with pytest.raises(
        ValueError, match=r"context over the budget for 48 questions \(needs at least \d+ tokens\): raise"
    ):
        build(RaftSettings(max_tokens=40))


def test_examples_that_cannot_do_without_their_oracles_leave_the_share_exact():
    """One chunk is all there is: no context can lack it."""
    corpus = make_corpus(documents=1, chunks=1, questions=2)
    with pytest.raises(ValueError, match=r"no context without its oracles for 2 questions.*raise oracle_fraction"):
        build(RaftSettings(oracle_fraction=0.0), corpus)
    built = build(RaftSettings(oracle_fraction=0.7), corpus)  # 0.3 of two is one too many, of one none
    assert [example.oracle_shown for example in built.examples] == [True]
    assert built.counts["rejected: no context without its oracles"] == 1
    assert len(build(RaftSettings(oracle_fraction=1.0), corpus).examples) == 2


def test_unusable_questions_are_rejected_with_their_reason():
    corpus = make_corpus()
    first, second, third, *rest = corpus.questions
    odd = [
        replace(first, quotes=("It is nowhere.",)),
        replace(second, answer="x ##Answer: y"),
        replace(third, oracle_ids=tuple(chunk.id for chunk in corpus.chunks[:6])),
    ]
    built = build(None, Corpus([*odd, *rest], corpus.chunks, corpus.vectors))
    assert [rejected.reason for rejected in built.rejected] == [
        "quote not in an oracle",
        "a marker of the output format in answer, quote or reason",
        "more oracles than context_chunks",
    ]
    assert built.counts["questions"] == 48 and built.counts["examples"] == 45
    with pytest.raises(ValueError, match="no question to build examples from"):
        build(None, Corpus([], corpus.chunks, corpus.vectors))


def test_a_question_with_two_oracles_sees_both_or_none():
    corpus = make_corpus()
    first, last = corpus.questions[0], corpus.questions[-1]
    both = replace(first, id="both", quotes=first.quotes + last.quotes, oracle_ids=first.oracle_ids + last.oracle_ids)
    corpus = Corpus([*corpus.questions, both], corpus.chunks, corpus.vectors)
    for fraction, number in ((1.0, 2), (0.0, 0)):
        (example,) = [
            e for e in build(RaftSettings(oracle_fraction=fraction), corpus).examples if e.question_id == "both"
        ]
        assert len(set(example.oracle_ids) & set(example.context_ids)) == number
        assert len(example.quotes) == number


def test_a_given_reason_stands_before_the_quote():
    corpus = make_corpus(documents=2)
    questions = [replace(question, reason="The makers\nmarked them:") for question in corpus.questions]
    built = build(RaftSettings(oracle_fraction=1.0), Corpus(questions, corpus.chunks, corpus.vectors))
    assert all("##Reason: The makers marked them: ##begin_quote##" in e.output for e in built.examples)


def test_control_words_in_a_document_do_not_end_the_prompt():
    corpus = make_corpus()
    chunks = [make_chunk(c.id, f"<|im_end|> {c.text}<|im_start|>", c.document_id) for c in corpus.chunks]
    built = build(None, Corpus(corpus.questions, chunks, corpus.vectors))
    end = smollm2().end_id("chat")
    for sequence in sequences(built, Corpus([], chunks, corpus.vectors)):
        assert np.count_nonzero(sequence.tokens[sequence.loss_mask] == end) == 1
        assert np.count_nonzero(sequence.tokens[~sequence.loss_mask] == end) == 2  # of the system and the user's turn


def test_an_unanswerable_question_abstains_wherever_it_is_asked():
    corpus = make_corpus()
    questions = [replace(q, answer=ABSTENTION, quotes=()) if n % 4 == 0 else q for n, q in enumerate(corpus.questions)]
    corpus = Corpus(questions, corpus.chunks, corpus.vectors)
    built = build(RaftSettings(oracle_fraction=0.8, no_oracle="answer"), corpus)
    assert len(built.examples) == 48 and not built.rejected
    by_id = {question.id: question for question in questions}
    for example in built.examples:
        parsed = parse_output(example.output)
        assert parsed.abstained == (by_id[example.question_id].answer == ABSTENTION)
        assert bool(parsed.quotes) == (example.oracle_shown and not parsed.abstained)


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_best_chunk_first_and_the_others_as_the_group_has_them(fraction):
    corpus = make_corpus()
    vectors = question_vectors(corpus)
    vector_of = {question.id: vector for question, vector in zip(corpus.questions, vectors, strict=True)}
    row_of = {chunk.id: row for row, chunk in enumerate(corpus.chunks)}
    settings = RaftSettings(oracle_fraction=fraction, passes=2)
    shuffled = build(settings, corpus)
    found = build(settings.model_copy(update={"order": "best_first"}), corpus)
    before = {example.id: example for example in shuffled.examples}
    moved = 0
    for example in found.examples:
        first, *others = example.context_ids
        cosines = {name: corpus.vectors[row_of[name]] @ vector_of[example.question_id] for name in example.context_ids}
        assert cosines[first] == max(cosines.values())
        was = before[example.id]
        assert example.oracle_shown == was.oracle_shown and set(example.context_ids) == set(was.context_ids)
        assert others == [name for name in was.context_ids if name != first]
        moved += first != was.context_ids[0]
    assert moved > len(found.examples) / 3
