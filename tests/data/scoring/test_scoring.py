import random
import re
import string
from collections import Counter
from dataclasses import replace

import pytest

from data.prompting.prompts import ABSTENTION, parse_output, raft_output
from data.scoring.scores import (
    METRICS,
    contains_answer,
    exact_match,
    holds_words,
    normalize_answer,
    recall_at_k,
    rouge_l,
    rung_table,
    score_answer,
    summarize,
    token_f1,
)
from testing.raft_corpus import make_chunk, make_question


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Quick, brown fox!", "quick brown fox"),
        ("a theatre and an anthem", "theatre and anthem"),
        ("U.S.A. (1931)", "usa 1931"),
        ("the", ""),
    ],
)
def test_normalisation_of_squad(text, normal):
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("prediction", "answer", "match", "f1"),
    [
        ("The mill.", "mill", 1, 1),
        ("nine turns", "nine", 0, 2 / 3),  # precision 1/2, recall 1
        ("red red blue", "red blue blue", 0, 2 / 3),  # bags: one red and one blue are common
        ("red red", "red red blue", 0, 4 / 5),  # both reds count: precision 1, recall 2/3
        ("green", "red", 0, 0),
        ("", "red", 0, 0),
        ("the", "an", 1, 1),  # nothing is left of either, as in SQuAD
        ("", "", 1, 1),
    ],
)
def test_exact_match_and_f1(prediction, answer, match, f1):
    assert exact_match(prediction, answer) == match
    assert token_f1(prediction, answer) == pytest.approx(f1)


# (prediction, golds, exact match, F1) as rajpurkar/SQuAD-explorer's evaluate-v1.1.py gives them, here 0 to 1.
PUBLIC = [
    ("Denver Broncos", ["Denver Broncos", "Denver Broncos", "Denver Broncos"], 1, 1),
    ("the Broncos", ["Denver Broncos", "The Denver Broncos"], 0, 2 / 3),
    ("Santa Clara", ["Levi's Stadium", "Levi's Stadium in the San Francisco Bay Area at Santa Clara"], 0, 1 / 3),
    ("1931.", ["in 1931", "1931"], 1, 1),
    ("Reik", ["Jonas Reik", "Reik"], 1, 1),
    ("by Jonas Reik", ["Jonas Reik", "Reik"], 0, 0.8),
    ("a red, red door", ["red door red", "blue"], 0, 1),
    ("$1,300", ["1300 dollars", "1300"], 1, 1),
    ("", ["the", "x"], 1, 1),
    ("green", ["red", "blue sky"], 0, 0),
]


@pytest.mark.parametrize(("prediction", "golds", "match", "f1"), PUBLIC)
def test_all_right_answers_count_as_in_the_public_script(prediction, golds, match, f1):
    question = replace(QUESTION, answer=golds[0], other_answers=tuple(golds[1:]))
    score = score_answer(question, parse_output(prediction), [], [ORACLE])
    assert (score.exact_match, score.token_f1) == (match, pytest.approx(f1))
    assert (score.exact_match, score.token_f1) == pytest.approx(public_script(prediction, golds))


def test_any_plain_answers_score_as_in_the_public_script():
    words = [
        "the",
        "a",
        "an",
        "red",
        "blue",
        "mill's",
        "mill",
        "U.S.",
        "1,300",
        "1300",
        "on-line",
        "online",
        "(x)",
        "x",
        "The",
    ]
    draw = random.Random(0)
    for _ in range(1000):
        prediction, *golds = (" ".join(draw.choices(words, k=draw.randint(1, 5))) for _ in range(4))
        question = replace(QUESTION, answer=golds[0], other_answers=tuple(golds[1:]))
        score = score_answer(question, parse_output(prediction), [], [ORACLE])
        assert (score.exact_match, score.token_f1) == pytest.approx(public_script(prediction, golds))


def public_script(prediction: str, golds: list[str]) -> tuple[float, float]:
    """The formulas of evaluate-v1.1.py, written anew as the judge."""

    def words(text: str) -> list[str]:
        kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    def f1(gold: str) -> float:
        given, wanted = words(prediction), words(gold)
        same = sum((Counter(given) & Counter(wanted)).values())
        if not given or not wanted:  # evaluate-v2.0.py; v1.1 gives 0
            return float(given == wanted)
        return (
            0.0
            if same == 0
            else 2 * (same / len(given)) * (same / len(wanted)) / (same / len(given) + same / len(wanted))
        )

    return float(any(words(prediction) == words(gold) for gold in golds)), max(map(f1, golds))


@pytest.mark.parametrize(
    ("prediction", "answer", "match", "f1"),
    [
        ("工业革命", "工业革命。", 1, 1),
        ("工业", "工业革命", 0, 2 / 3),  # by character: precision 1, recall 1/2
        ("明治維新のあと", "明治維新", 0, 8 / 11),
        ("กรุงเทพ", "กรุงเทพฯ", 0, 2 * 6 / 13),  # letters with the marks on them: 6 of 6 and of 7
        ("Cafe\u0301 \u201cAnker\u201d", 'café "Anker"', 1, 1),
        ("서울에서", "서울", 0, 0),
    ],
)
def test_scripts_without_spaces_score_by_character(prediction, answer, match, f1):
    assert exact_match(prediction, answer) == match
    assert token_f1(prediction, answer) == pytest.approx(f1)


def test_words_are_found_in_any_script():
    assert holds_words("第一次工业革命始于英国。", "工业革命") and not holds_words("工业", "工业革命")
    assert holds_words("서울에서 만난다", "서울")
    assert not holds_words("ninety", "nine")


ORACLE = make_chunk("o", "The wheel turns\nnine times. It is old.")
DISTRACTOR = make_chunk("d", "The bell rings at noon.")
QUESTION = make_question("q", ("o",), "nine times", ("The wheel turns\nnine times.",))


def test_a_perfect_answer():
    score = score_answer(
        QUESTION, parse_output(raft_output("nine times", QUESTION.quotes)), [DISTRACTOR, ORACLE], [ORACLE]
    )
    assert (score.exact_match, score.token_f1, score.quotes, score.verbatim_quotes) == (1, 1, 1, 1)
    assert score.cites_oracle and not score.abstained and score.recall == 1


def test_quotes_are_checked_letter_for_letter_against_what_was_shown():
    output = raft_output(
        "nine", ("The wheel turns nine times.", "The bell rings at noon.", "the bell rings at noon.", "")
    )
    score = score_answer(QUESTION, parse_output(output), [ORACLE, DISTRACTOR], [ORACLE])
    assert (score.quotes, score.verbatim_quotes, score.cites_oracle) == (4, 2, True)
    unseen = score_answer(QUESTION, parse_output(output), [DISTRACTOR], [ORACLE])
    assert (unseen.verbatim_quotes, unseen.cites_oracle, unseen.recall) == (1, True, 0)
    wrong = score_answer(QUESTION, parse_output(raft_output("noon", ("The bell rings",))), [DISTRACTOR], [ORACLE])
    assert (wrong.verbatim_quotes, wrong.cites_oracle) == (1, False)


def test_closed_book_answers_have_no_recall():
    score = score_answer(QUESTION, parse_output("Nine times."), [], [ORACLE])
    assert (score.exact_match, score.quotes, score.recall) == (1, 0, None)


def test_recall_at_k():
    assert recall_at_k(["a", "b", "c"], ["c", "b"], 2) == 0.5
    assert recall_at_k(["a", "b", "c"], ["c", "b"], 3) == 1
    assert recall_at_k([], ["a"], 5) == 0


def test_a_rung_by_hand():
    shown = [DISTRACTOR, ORACLE]
    outputs = [
        raft_output("nine times", QUESTION.quotes),  # right
        raft_output("nine", ("Made up.", "It is old.")),  # F1 2/3, one of two quotes
        raft_output(ABSTENTION, ()),  # F1 0
        "noon",
    ]
    overruled = (0, 3, 0, None)
    scores = [
        score_answer(QUESTION, parse_output(output), shown, [ORACLE], 8, held)
        for output, held in zip(outputs, overruled, strict=True)
    ]
    rung = summarize("tuned", scores)
    values = {key: rung[key] and rung[key]["value"] for key in METRICS}
    assert values.pop("abstention_recall") is None, "every question has an answer"
    assert values == pytest.approx(
        {
            "exact_match": 1 / 4,
            "token_f1": (1 + 2 / 3) / 4,
            "rouge_l": (1 + 2 / 3) / 4,
            "contains_answer": 1 / 4,
            "quote_precision": 2 / 3,
            "quotes_unaided": 1 / 2,
            "quote_rate": 2 / 4,
            "oracle_citation": 2 / 4,
            "abstention": 1 / 4,
            "abstention_precision": 0,
            "recall": 1,
            "output_tokens": 8,
        }
    )
    assert rung["name"] == "tuned" and rung["questions"] == 4
    assert all(rung[key]["low"] <= rung[key]["value"] <= rung[key]["high"] for key in values)


UNANSWERABLE = make_question("u", (), ABSTENTION, ())


def test_quoting_and_citing_count_where_there_is_an_answer_and_abstention_where_it_is_due():
    def scored(question, output):
        return score_answer(question, parse_output(output), [ORACLE], [ORACLE] if question.quotes else [])

    abstains, quotes = raft_output(ABSTENTION, ()), raft_output("nine times", QUESTION.quotes)
    asked = [(QUESTION, quotes), (QUESTION, abstains), (UNANSWERABLE, quotes), (UNANSWERABLE, abstains)] * 2
    rung = summarize("tuned", [scored(*pair) for pair in [*asked, (UNANSWERABLE, abstains)]])
    values = {key: rung[key] and rung[key]["value"] for key in METRICS}
    assert (values["quote_rate"], values["oracle_citation"]) == (1 / 2, 1 / 2)
    assert values["abstention"] == 5 / 9
    assert (values["abstention_precision"], values["abstention_recall"]) == (3 / 5, 3 / 5)
    assert values["exact_match"] == 5 / 9, "an abstention where it is due is right"
    assert values["recall"] == 1, "over those that have an oracle"


def test_an_abstention_is_right_or_wrong_as_a_whole():
    wordy = replace(QUESTION, answer="in the documents of the mill")
    abstains = score_answer(wordy, parse_output(raft_output(ABSTENTION, ())), [ORACLE], [ORACLE])
    answers = score_answer(UNANSWERABLE, parse_output("in the documents room"), [ORACLE], [])
    rightly = score_answer(UNANSWERABLE, parse_output("Not in the documents."), [ORACLE], [])
    assert (abstains.token_f1, abstains.rouge_l, abstains.contains_answer) == (0, 0, 0)
    assert (answers.exact_match, answers.token_f1, answers.rouge_l) == (0, 0, 0)
    assert (rightly.exact_match, rightly.token_f1, rightly.rouge_l, rightly.contains_answer) == (1, 1, 1, 1)


def test_rouge_l_is_the_longest_common_subsequence_in_any_script():
    assert rouge_l("the cat sat on the mat", "the cat on a mat") == pytest.approx(
        2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5)
    )
    assert rouge_l("工业革命", "工业革命") == 1 and rouge_l("", "red") == 0


def test_an_answer_is_contained_in_whole_words_in_a_row():
    assert contains_answer("It turned nine times, they say.", "the nine times") == 1
    assert contains_answer("It turned ninety times.", "nine") == 0
    assert contains_answer("times nine", "nine times") == 0
    assert contains_answer("anything", "the") == 0


def test_the_table_shows_percent_intervals_and_what_does_not_apply():
    closed = summarize("base, closed-book", [score_answer(QUESTION, parse_output("nine times"), [], [ORACLE])] * 3)
    tuned = summarize(
        "tuned", [score_answer(QUESTION, parse_output(raft_output("x", ("It is old.",))), [ORACLE], [ORACLE])]
    )
    lines = rung_table([closed, tuned]).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][1:4] == ["questions", "exact match", "token F1"]
    assert "abstention recall" not in cells[0], "no rung has it"
    everything = "100.0 (100.0 to 100.0)"
    assert cells[2][:6] == ["base, closed-book", "3", everything, everything, everything, "-"]
    assert cells[3][-1] == "100.0 (100.0 to 100.0)" and cells[2][-1] == "-"


def test_no_answers_are_an_error():
    with pytest.raises(ValueError, match="no answers to score for 'base'"):
        summarize("base", [])
