"""Phrases in texts, and texts that are alike by their runs of words: exactly as by comparing each with each."""

import random
import re

import pytest

from data.text.words import WORD, AlikeTexts, jaccard, phrase_pattern, word_runs


def edited_texts(seed: int, number: int) -> list[str]:
    """Texts of one frame each, with some words changed, so that pairs are alike in every degree."""
    draw = random.Random(seed)
    frames = [[draw.choice("abcdefghij") for _ in range(draw.randint(0, 40))] for _ in range(6)]
    texts = []
    for _ in range(number):
        words = list(draw.choice(frames))
        for _ in range(draw.randint(0, 4) if words else 0):
            words[draw.randrange(len(words))] = draw.choice("klmnop")
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("least", [0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_the_same_pairs_as_by_comparing_each_with_each(least):
    runs = [word_runs(text) for text in edited_texts(1, 150)]
    others = [word_runs(text) for text in edited_texts(2, 50)]
    alike = AlikeTexts(least, [*runs, *runs, *others])
    for each in runs:
        alike.add(each)
    found = 0
    for each in [*runs, *others]:
        shares = [(place, jaccard(each, other)) for place, other in enumerate(runs) if each or other]
        expected = [(place, share) for place, share in shares if share >= least]
        assert alike.find(each) == expected
        found += len(expected)
    assert found > len(runs) / 2


@pytest.mark.parametrize(
    ("text", "phrase", "held"),
    [
        ("The Old\n Mill burned.", "old mill", True),
        ("Windmills turn.", "mill", False),
        ("It costs 3.5 marks, or 1,300.", "3", False),
        ("It costs 3.5 marks, or 1,300.", "300", False),
        ("It costs 3.5 marks, or 1,300.", "1,300", True),
        ("In 1931. Then", "1931", True),
        ("Die STRASSE am Hafen", "Straße", True),
        ("工业革命首先在英国开始。", "英国", True),
        ("부산에서 열렸다", "부산", True),
        ("ﾊﾝﾊﾞｰｸﾞ定食", "ﾊﾞｰｸﾞ", True),
        ("US$5", "$5", True),
        ("anything", " ", False),
    ],
)
def test_a_phrase_is_found_as_whole_words(text, phrase, held):
    for flags in (0, re.IGNORECASE):
        pattern = phrase_pattern(phrase.casefold(), flags)
        assert (pattern is not None and pattern.search(text.casefold()) is not None) == held


def test_scripts_without_spaces_are_cut_into_letters():
    assert WORD.findall("工业 革命 부산 ﾊﾝ old_mill 3.5") == [*"工业革命부산ﾊﾝ", "old_mill", "3", "5"]
