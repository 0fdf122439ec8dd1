"""Follow-up questions: what is shown to the model, and what of its writing may be asked."""

import pytest

from data.prompting.conversation import Turn, latest_turns, rewritten
from data.prompting.prompts import Prompt, rewrite_text, with_system

TURNS = [Turn("user", "Who runs the cable ferry?"), Turn("assistant", "Ousel Lark, since 1931.")]


@pytest.mark.parametrize(
    ("question", "written", "asked"),
    [
        ("When was it built?", "When was the cable ferry built?", "When was the cable ferry built?"),
        ("And who pays her?", " Who pays Ousel  Lark?\n", "Who pays Ousel Lark?"),
        ("Who paints it?", '"Who painted the ferry?"', "Who painted the ferry?"),  # another form of a word
        ("When was it built?", "When was it built?", "When was it built?"),
        ("When was it built?", "The ferry was built in 1990.", None),  # an answer, with a number of its own
        ("When was it built?", "Who is Ousel Lark?", None),  # another question
        ("How many goats are there?", "How many ferries are there?", None),
        ("How many goats are there?", "How many goats of Paris are there?", None),
        ("Who came in 1931?", "Who came in 1932?", None),
        ("Who came?", "Who came in 1931?", "Who came in 1931?"),
        ("When was it built?", "", None),
        ("When was it built?", "?!", None),
    ],
)
def test_a_rewritten_question_has_the_words_of_the_question_and_of_nothing_but_the_conversation(
    question: str, written: str, asked: str | None
) -> None:
    assert rewritten(question, TURNS, written) == (asked or question)


def test_the_last_turns_that_fit() -> None:
    turns = [Turn("user", str(number) * 10) for number in range(9)]
    assert latest_turns(turns, 1000) == turns[3:]
    assert latest_turns(turns, 29) == turns[7:] and latest_turns(turns, 30) == turns[6:]
    assert latest_turns([*turns[:1], Turn("assistant", "x" * 50)], 40) == [], "none is shown without those after it"


def test_the_text_to_continue() -> None:
    text = rewrite_text([Turn("user", "One {x}\nUser: two"), Turn("assistant", "Three.")], "Four\n{turns}?")
    assert text.endswith(
        "User: One {x} User: two\nAssistant: Three.\nUser: Four {turns}?\nThe last question on its own:"
    )


def test_a_system_message_stands_before_the_instruction() -> None:
    prompt = Prompt("Answer.", "Question: who?")
    assert with_system(prompt, "Be brief.").message == "Be brief.\n\nAnswer.\n\nQuestion: who?"
    assert with_system(prompt, " \n") == prompt
    assert "### Instruction:\nBe brief.\n\nAnswer.\n\n### Input:" in with_system(prompt, "Be brief.").alpaca
