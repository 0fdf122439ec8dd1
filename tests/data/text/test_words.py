"""Texts that are alike by their runs of words: exactly as by comparing each with each."""

import random

import pytest

from data.text.words import WORD, AlikeTexts, jaccard, word_runs


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


def test_scripts_without_spaces_are_cut_into_letters():
    assert WORD.findall("工业 革命 부산 ﾊﾝ old_mill 3.5") == [*"工业革命부산ﾊﾝ", "old_mill", "3", "5"]
