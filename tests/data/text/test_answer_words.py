"""Answers compared as the public scripts do: SQuAD's for plain English, by character in scripts without spaces."""

import random
import re
import string
import sys
import unicodedata

import pytest

from data.text.answer_words import normalize_answer

# What rajpurkar/SQuAD-explorer's evaluate-v1.1.py and evaluate-v2.0.py give.
SQUAD = {
    "The  Quick, brown fox!": "quick brown fox",
    "a theatre and an anthem": "theatre and anthem",
    "U.S.A. (1931)": "usa 1931",
    "the": "",
    "an a the": "",
    'A-Team\'s "best"': "ateams best",
    "$1,300.50": "130050",
    "a.m.": "am",
    "state-of-the-art": "stateoftheart",
    "10% + 5^2 = ~35 <b>|`_x_`": "10 52 35 bx",
    "tabs\tand\nlines": "tabs and lines",
    "": "",
}


def script(text: str) -> str:
    """The public script's four steps, written anew as the judge."""
    lowered = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", lowered).split())


@pytest.mark.parametrize("text", SQUAD)
def test_plain_english_is_as_in_squad(text):
    assert normalize_answer(text) == SQUAD[text] == script(text)


def test_any_plain_text_is_as_in_squad():
    letters = string.ascii_letters + string.digits + string.punctuation + "  \t" + "aaa the an "
    draw = random.Random(0)
    for _ in range(2000):
        text = "".join(draw.choices(letters, k=draw.randint(0, 30)))
        assert normalize_answer(text) == script(text), repr(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Caf\u00e9", "Cafe\u0301"),
        ("\u201cMill\u201d", '"mill"'),
        ("l\u2019eau", "l'eau"),
        ("l\u00b4eau", "leau"),
        ("co\u00adop\u00ader\u00ada\u00adtive", "cooperative"),
        ("\ufb01sh", "fish"),
        ("\uff21\uff22\uff11\uff12", "AB12"),
        ("12\u00a0000\u202fkm", "12 000 km"),
        ("1914\u20131918", "1914-1918"),
        ("\u22125", "-5"),
        ("Straße", "STRASSE"),
        ("\u0661\u0669\u0661\u0662", "1912"),
        ("\u200bmill\ufeff", "mill"),
        ("「工业革命」。", "工业革命"),
        ("\u1100\u1161\u11a8", "\uac01"),
    ],
)
def test_typography_is_no_difference(one, other):
    assert normalize_answer(one) == normalize_answer(other)


def test_accents_and_letters_are_differences():
    assert normalize_answer("resume") != normalize_answer("résumé")
    assert normalize_answer("工业") != normalize_answer("工業")
    assert normalize_answer("der Hafen") != normalize_answer("Hafen"), "only English articles are dropped"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("工业革命", "工 业 革 命"),
        ("在1912年,由 Ann Holt 建", "在 1912 年 由 ann holt 建"),
        ("カタカナ ひらがな", "カ タ カ ナ ひ ら が な"),
        ("น้ำ", "น้\u0e4d า"),  # NFKC makes two of the last vowel, of which one is a mark
        ("ที่ว่า", "ที่ ว่ า"),
        ("서울에서 만난", "서울에서 만난"),
    ],
)
def test_scripts_without_spaces_are_compared_by_letter(text, normal):
    assert normalize_answer(text) == normal


def test_korean_syllables_can_be_parted():
    assert normalize_answer("서울에서", split_korean=True) == "서 울 에 서"


def mlqa(text: str) -> str:
    """What MLQA's script gives for Chinese (its punctuation is dropped before the characters are parted)."""
    punctuation = {chr(i) for i in range(sys.maxunicode) if unicodedata.category(chr(i)).startswith("P")}
    kept = "".join(c for c in text.lower() if c not in punctuation | set(string.punctuation))
    return " ".join(re.sub(r"([\u4e00-\u9fa5])", r" \1 ", kept).split())


@pytest.mark.parametrize("text", ["《红楼梦》,曹雪芹", "1912年10月", "北京 Beijing 市", "「三」号"])
def test_chinese_is_as_in_mlqa(text):
    assert normalize_answer(text) == mlqa(text)
