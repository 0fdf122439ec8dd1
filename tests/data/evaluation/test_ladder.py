import json
from dataclasses import replace

import pytest

from data.evaluation.ladder import BASE, RUNG_BY_NAME, RUNGS, TUNED, EvaluationSettings, with_oracles
from data.evaluation.robustness import RobustnessSettings, trials
from data.evaluation.tables import compare_rungs, make_breakdown, show_examples
from data.prompting.prompts import INSTRUCTION, retrieval_prompt
from data.scoring.scores import AnswerScore
from testing.answered import answered
from testing.raft_corpus import make_chunk, make_question

QUESTION = make_question("q", ("o",), "nine", ("The nine.",))
TWO = make_question("q", ("o", "p"), "nine", ("The nine.", "And more."))


@pytest.mark.parametrize(
    ("found", "question", "context"),
    [
        ("ao", QUESTION, "ao"),
        ("abc", QUESTION, "abo"),
        ("abp", TWO, "aop"),
        ("abc", TWO, "apo"),
        ("a", TWO, "op"),
        ("abc", make_question("u", (), "x", ()), "abc"),
    ],
)
def test_the_oracles_take_the_places_of_the_last_others(found, question, context):
    assert "".join(with_oracles(list(found), question)) == context


def test_the_ladder_is_chosen_and_comes_in_its_order():
    def names(**given):
        return [rung.name for rung in EvaluationSettings(**given).ladder]

    assert names() == ["base closed-book", BASE, TUNED, "tuned + oracle"]
    assert names(rungs=(TUNED, "tuned closed-book", BASE)) == [BASE, "tuned closed-book", TUNED]
    assert names(rungs=(TUNED, BASE), dsf=True) == [BASE, "DSF closed-book", "DSF + retrieval", TUNED]


def test_only_the_tuned_model_gets_the_trained_prompt_and_the_grammar():
    """The published gap over the base model rests on this."""
    context = [make_chunk("c", "The wheel turns nine times.")]
    for rung in RUNGS:
        prompt, tuned = rung.prompt("How often?", context), rung.model == "tuned"
        assert (prompt.instruction == INSTRUCTION) == (tuned and rung.shown != "closed-book")
        assert ("nine times" in prompt.input) == (rung.shown != "closed-book")
        assert prompt.input.endswith("Question: How often?")
        assert (rung.grammar(context) is not None) == tuned
    of_base = RUNG_BY_NAME[BASE].prompt("How often?", context)
    assert of_base == retrieval_prompt(context, "How often?") and "quote" not in of_base.instruction


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rungs": (TUNED,)}, "lacks 'base \\+ retrieval'"),
        ({"rungs": (TUNED, BASE, "DSF + retrieval")}, "set dsf=true"),
        ({"judge": {"rungs": ["tuned closed-book"]}}, "judge.rungs has 'tuned closed-book', which is not evaluated"),
        ({"judge": {"model": "m"}}, "evaluation.judge has only one of base_url and model"),
    ],
)
def test_settings_that_do_not_fit(given, says):
    with pytest.raises(ValueError, match=says):
        EvaluationSettings(**given)


def test_trials_of_a_question():
    settings = RobustnessSettings(distractors=(3, 0, 9), top_k=(2, 1))
    found = trials(QUESTION, list("abocde"), 3, settings)
    by_study = {}
    for trial in found:
        by_study.setdefault(trial.study, {})[trial.value] = "".join(trial.context_ids)
    assert by_study["distractors"].pop(0) == "o"
    assert {"".join(sorted(ids)) for ids in by_study["distractors"].values()} == {"abco"}, "9 are not to be had"
    assert by_study["oracle_position"] == {1: "oab", 2: "aob", 3: "abo"}
    assert by_study["top_k"] == {1: "a", 2: "ab"}
    again = list(trials(QUESTION, list("abocde"), 3, settings))
    assert again == list(trials(QUESTION, list("abocde"), 3, settings))
    others = {trials_order(seed) for seed in range(5)}
    assert len(others) > 1, "the order is drawn"
    assert not list(trials(QUESTION, ["a"], 3, RobustnessSettings(positions=False, distractors=(), top_k=())))


def trials_order(seed):
    settings = RobustnessSettings(distractors=(3,), positions=False, top_k=(), seed=seed)
    (trial,) = trials(QUESTION, list("abocde"), 3, settings)
    return trial.context_ids


def score(number, f1, rung="x"):
    return AnswerScore(f"q{number}", float(f1 == 1), f1, f1, 0.0, 0, 0, False, False, True, None, 3)


def test_each_rung_is_compared_with_those_below_it():
    rungs = {"low": [0.1, 0.2, 0.3], "middle": [0.1, 0.2, 0.3], "high": [0.6, 0.7, 0.8]}
    found = compare_rungs({name: [score(n, f1) for n, f1 in enumerate(f1s)] for name, f1s in rungs.items()})
    of_f1 = {(item.rung, item.against): item for item in found if item.metric == "token_f1"}
    assert list(of_f1) == [("middle", "low"), ("high", "low"), ("high", "middle")]
    assert of_f1["high", "low"].difference == pytest.approx(50) and of_f1["high", "low"].p < 0.01
    assert (of_f1["middle", "low"].difference, of_f1["middle", "low"].p) == (0, 1)
    assert {item.questions for item in found} == {3}


def test_the_breakdown_counts_documents_and_kinds():
    rows = [answered(TUNED, n, f1, document=f"{n % 2}.md", kind="who") for n, f1 in enumerate((1.0, 0.5, 0.0))]
    found = make_breakdown(rows)
    assert found["by_document"][TUNED] == {
        "0.md": {"questions": 2, "exact_match": 50.0, "token_f1": 50.0},
        "1.md": {"questions": 1, "exact_match": 0.0, "token_f1": 50.0},
    }
    assert found["by_kind"][TUNED] == {"who": {"questions": 3, "exact_match": pytest.approx(100 / 3), "token_f1": 50.0}}
    json.dumps(found)


def test_examples_show_every_rung_and_why_one_is_not_right():
    rows = [answered(rung, n, f1) for n in range(3) for rung, f1 in ((BASE, 0.0), (TUNED, float(n > 1)))]
    rows[1] = replace(rows[1], cause="wrong")
    told = show_examples(rows)
    assert "one of 1 questions that tuned + retrieval answers right" in told
    assert "one of 2 questions that tuned + retrieval answers wrong" in told
    assert f"{BASE}:\n    {BASE} says" in told
