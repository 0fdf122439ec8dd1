"""Words and numbers of answers, in languages with and without spaces."""

import pytest

from data.text.support import (
    answer_recall,
    content_words,
    is_verdict,
    lone_numbers,
    split_words,
    strange_numbers,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Der 3. Hafen: 1,300 Männer, 1.5 m", ["der", "3", "hafen", "1300", "männer", "1.5", "m"]),
        ("1 300 marks and 3,5 marks", ["1300", "marks", "and", "3.5", "marks"]),
        ("工业革命 in 2010年", ["工业", "业革", "革命", "in", "2010", "年"]),
        ("१२३ नमस्ते", ["123", "नमस्ते"]),
        ("١٢٣ رجل", ["123", "رجل"]),
        ("snake_case and ｆｕｌｌ width", ["snake", "case", "and", "full", "width"]),
    ],
)
def test_words(text, words):
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("answer", "quote", "recall"),
    [
        ("Hesk Dellacorn", "It was painted by Hesk Dellacorn in 1950.", 1),
        ("Hesk Dellacorn", "It was painted by Ida Dellacorn in 1950.", 0.5),
        ("a goat", "Goats are not allowed inside.", 1),
        ("the stationed guard", "The guards are stationed there.", 1),
        ("yes", "Goats are not allowed inside.", 1),
        ("1951", "It was painted in 1950.", 0),
        ("1,300 marks", "It costs 1300 marks.", 1),
        ("英国", "工业革命首先在英国开始。", 1),
        ("法国", "工业革命首先在英国开始。", 0),
        ("부산", "회의는 부산에서 열렸다.", 1),
        ("서울", "회의는 부산에서 열렸다.", 0),
        ("Англии", "Революция началась в Англии.", 1),
        ("بريطانيا", "بدأت الثورة الصناعية في بريطانيا", 1),
        ("It was painted red because the harbour asked for a mark that is seen in fog", "Ousel has no trees.", 0),
    ],
)
def test_recall_of_an_answer(answer, quote, recall):
    assert answer_recall(answer, quote) == recall


def test_strange_numbers():
    assert strange_numbers("1,300 of 7 in 1929", "In 1929 there were 1300.") == ["7"]
    assert strange_numbers("১৩", "13") == [] and strange_numbers("Ousel", "13") == []


@pytest.mark.parametrize(
    ("text", "like", "words"),
    [
        # Stop words of another language: German "war", "die", Spanish "son", French "son".
        ("the war", "It ended the war that was lost", ["war"]),
        ("her son may die", "", ["son", "may", "die"]),
        ("die Mühle", "Sie war in der Stadt", ["mühle"]),
        ("war es", "Die Mühle war am Hafen und ist alt", []),
        ("son père", "Il est dans la maison avec elle", ["père"]),
        ("No.", "", []),
        ("it is", "", []),
        ("maybe 3", "", ["3"]),
        ("英国", "", ["英国"]),
    ],
)
def test_stop_words_are_those_of_the_language(text, like, words):
    assert content_words(text, like) == words


def test_yes_and_no_in_many_languages():
    assert all(map(is_verdict, ["Yes", "no.", "Maybe!", "はい", "Nein", "“No”"]))
    assert not any(map(is_verdict, ["No. 7", "yes, it hums", "none of them", "3", ""]))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,300 marks, 1300 and 1 300", {"1300"}),
        ("3.5 or 3,5", {"3.5"}),
        ("on the 3rd of v4, A5", set()),
        ("in 1931, 1932.", {"1931", "1932"}),
        ("2010年", {"2010"}),
    ],
)
def test_numbers_that_stand_alone(text, numbers):
    assert lone_numbers(text) == numbers
