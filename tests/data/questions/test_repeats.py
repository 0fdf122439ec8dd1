"""Near questions are the same, or differ in what an embedder does not see."""

import numpy as np
import pytest

from data.prompting.prompts import ABSTENTION
from data.questions.questions import Question
from data.questions.repeats import asked, differ, repeated_question


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Who holds locker 100?", "Who holds locker 200?"),
        ("Wer hat Fach \u0661\u0662?", "Wer hat Fach \u0661\u0663?"),
        ("三号柜是谁的?", "四号柜是谁的?"),
        ("What does X-200 weigh?", "What does X-300 weigh?"),
        ("What does X200B weigh?", "What does X200C weigh?"),
        ("What does v1.2 add?", "What does v1.3 add?"),
        ("What was sold in 1912 and 1913?", "What was sold in 1912 and 1914?"),
        ("What costs 1,300?", "What costs 1,400?"),
    ],
)
def test_another_number_or_code_is_another_question_whatever_the_answers(one, other):
    assert differ(asked(one, ["rye"]), asked(other, ["rye"]))
    assert differ(asked(one), asked(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What costs 1,300?", "What costs 1300?"),
        ("How many of the 3 keys hang there?", "How many of the three keys hang there?"),
        ("When was the mill built?", "In which year was the mill built?"),
        ("Who held it from 1912 to 1915?", "Until 1915, from 1912, who held it?"),
        ("Ｗhat does Ｘ-200 weigh?", "What does x 200 weigh?"),
    ],
)
def test_the_same_in_other_words_is_the_same(one, other):
    assert not differ(asked(one, ["1874"]), asked(other, ["in 1874"]))
    assert not differ(asked(one), asked(other, ["1874"]))


def test_other_words_and_another_answer_are_another_question():
    one, other = "Where does Ada Holm live?", "Where does Bo Strand live?"
    assert differ(asked(one, ["Quay 1"]), asked(other, ["Mill Lane"]))
    assert not differ(asked(one, ["Mill Lane"]), asked(other, ["on Mill Lane"]))
    assert not differ(asked(one, ["Quay 1", "Mill Lane"]), asked(other, ["Mill Lane"])), "one right answer is the same"
    assert not differ(asked(one, [ABSTENTION]), asked(other, ["Mill Lane"]))
    longer = "Where does Ada Holm live today?"
    assert not differ(asked(one, ["Quay 1"]), asked(longer, ["Mill Lane"])), "only one has words of its own"
    assert differ(asked(one, ["Quay 1"]), asked("Where did Ada Holm live in 1912?", ["Mill Lane"]))


def test_a_farther_repetition_is_found_behind_a_nearer_question():
    def held(number, text, answer):
        return Question(f"q{number}", text, answer, (), "d", (), "given", "given")

    held_out = [
        held(0, "Who holds locker 200?", "Bo"),
        held(1, "Whose is locker 100?", "Ada"),
        held(2, "Far?", "Ada"),
    ]
    vectors = np.array([[1, 0, 0]], np.float32)
    others = np.array([[1, 0, 0], [0.96, 0.28, 0], [0, 1, 0]], np.float32)
    assert repeated_question([("Who holds locker 100?", ["Ada"])], vectors, held_out, others, 0.95) == [1]
    assert repeated_question([("Who holds locker 100?", ["Ada"])], vectors, held_out, others, 0.97) == [None]
    assert repeated_question([("FAR", ())], vectors, held_out, others, 0.95) == [2], "the same wording at any cosine"
    assert repeated_question([("Who?", ())], vectors, [], others[:0], 0.95) == [None]
