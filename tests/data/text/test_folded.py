"""Answers found in texts whatever the typography, and not inside other words and numbers."""

import random
import time
import unicodedata

import pytest

from data.text.folded import SearchText, answer_forms, fold


def found(text, answer):
    """The slices of the text in which an answer stands."""
    searched = SearchText(text)
    forms = [form for form in answer_forms(answer) if any(True for _ in searched.find(form))]
    return [text[slice(*searched.source(*place))] for place in searched.find(forms[0])] if forms else []


@pytest.mark.parametrize(
    ("text", "answer", "slices"),
    [
        ("The Old\n Mill burned.", "old mill", ["Old\n Mill"]),
        ("It belongs to Zoe\u0308 Mu\u0308ller, who", "Zo\u00eb M\u00fcller", ["Zoe\u0308 Mu\u0308ller"]),
        ("\u1112\u1161\u11ab국의 수도", "한국", ["\u1112\u1161\u11ab국"]),
        ("The sign says “Don’t feed the gulls”.", "Don't feed the gulls", ["Don’t feed the gulls"]),
        ("He said ``so'' and left", '"so"', ["``so''"]),
        ("He said so and left", "“so”", ["so"]),
        (
            "call: press.fit(part='gear', oil=True)",
            'press.fit(part="gear", oil=True)',
            ["press.fit(part='gear', oil=True)"],
        ),
        ("keeper is Tom\u00adas Hjelm.", "Tomas Hjelm", ["Tom\u00adas Hjelm"]),
        ("the light\u00ad\n  house", "lighthouse", ["light\u00ad\n  house"]),
        ("a zero\u200bwidth sign", "zerowidth", ["zero\u200bwidth"]),
        ("The ﬁrst oﬃcer is", "first officer", ["ﬁrst oﬃcer"]),
        ("from 1914–1918 on", "1914-1918", ["1914–1918"]),
        ("It costs 50\u00a0km", "50 km", ["50\u00a0km"]),
        ("１２３４ 円と ＡＢＣ ＤＥＦ", "1234", ["１２３４"]),
        ("１２３４ 円と ＡＢＣ ＤＥＦ", "abc def", ["ＡＢＣ ＤＥＦ"]),
        ("在 ٣ 年", "3", ["٣"]),
        ("Die STRASSE am Hafen", "Straße", ["STRASSE"]),
        ("**Jonas** Reik built it", "Jonas Reik", ["Jonas** Reik"]),
        ("In 1931. Then", "1931", ["1931"]),
        ("It costs 3.5 marks, or 1,300.", "1,300", ["1,300"]),
        ("US$5", "$5", ["$5"]),
        ("A goat saw the donkey.", "a donkey", ["donkey"]),
        ("工业革命首先在英国开始。", "英国", ["英国"]),
        ("这是工业\n革命。", "工业 革命", ["工业\n革命"]),
        ("门票 4 元，", "4元", ["4 元"]),
        ("ジョン・スミスは来た", "ジョン スミス", ["ジョン・スミス"]),
        ("ﾊﾝﾊﾞｰｸﾞ定食", "バーグ", ["ﾊﾞｰｸﾞ"]),
        ("『坊っちゃん』を読む", "「坊っちゃん」", ["『坊っちゃん』"]),
        ("ค่าเข้าสี่บาท", "สี่บาท", ["สี่บาท"]),
        ("부산에서 열렸다", "부산", ["부산"]),
        ("Il dit : « Liberté\u00a0! » à 50\u202f% de", "« Liberté »!", ["Liberté"]),
        ("Il dit : « Liberté\u00a0! » à 50\u202f% de", "50 %", ["50\u202f%"]),
        ("le cœur du port", "coeur", ["cœur"]),
        ("Hawaiʻi lies", "Hawai'i", ["Hawaiʻi"]),
        ("第 3 条", "第3条", ["第 3 条"]),
        ("张三、李四", "张三，李四", ["张三、李四"]),
        # False friends.
        ("Windmills turn.", "mill", []),
        ("It costs 3.5 marks, or 1,300.", "3", []),
        ("It costs 3.5 marks, or 1,300.", "5", []),
        ("It costs 3.5 marks, or 1,300.", "300", []),
        ("an area of 10² km", "102", []),
        ("an area of 10² km", "10", []),
        ("2*3 are six", "23", []),
        ("on the 3rd day", "3", []),
        ("门票十四元", "四元", []),
        ("cafe\u0301", "cafe", []),
        ("Stop! Go? Wait...", "!", []),
        ("anything", " ", []),
    ],
)
def test_an_answer_is_found_whatever_the_typography_and_nowhere_else(text, answer, slices):
    assert found(text, answer) == slices


def test_every_slice_of_words_is_found_at_its_place_in_any_normal_form():
    rng = random.Random(3)
    text = "Zoë’s café — “naïve” ﬁne Straße, 北京 的 café № 5 ½ ¼ x² Ελλάδα ЙОГА हिन्दी 한국어 ｶﾞ ไทย a\u00adb…"
    for form in ("NFC", "NFD"):
        shaped = unicodedata.normalize(form, text)
        searched = SearchText(shaped)
        words = shaped.split(" ")
        for _ in range(60):
            first = rng.randrange(len(words))
            last = rng.randrange(first, min(first + 3, len(words)))
            sought = fold(unicodedata.normalize(rng.choice(["NFC", "NFD"]), " ".join(words[first : last + 1])))
            places = [searched.source(*place) for place in searched.find(sought)]
            assert any(fold(shaped[slice(*place)]) == sought for place in places), sought


@pytest.mark.parametrize("piece", ["." * 50, " ", "* ", "''", "字 ", "e\u0301", "\u00ad\n "])
def test_long_texts_take_no_time(piece):
    begun = time.monotonic()
    SearchText("x" + piece * (300_000 // len(piece)) + "x")
    assert time.monotonic() - begun < 10
