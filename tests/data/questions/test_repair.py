"""Quotes repaired by alignment: random slips in real text come back as the exact slice, and never as another one."""

import random
import re
import time
from pathlib import Path

import pytest

from data.documents.corpus import read_documents
from data.questions.repair import FoldedText

SAMPLES = Path(__file__).parents[3] / "data" / "samples"


@pytest.fixture(scope="module")
def texts():
    return [document.text for document in read_documents(SAMPLES / "documents")[:12]]


def slips(quote, count, rng):
    """The quote with `count` edits of letters, far enough apart that none undoes another."""
    # Inside words: a word of one letter that goes takes a space with it, and that is two.
    letters = [i for i in range(1, len(quote) - 1) if quote[i - 1 : i + 2].isalpha()]
    chosen = []
    while len(chosen) < count:
        place = rng.choice(letters)
        if all(abs(place - other) > 4 for other in chosen):
            chosen.append(place)
    characters = list(quote)
    for place in sorted(chosen, reverse=True):
        match rng.randrange(3):
            case 0:
                characters[place] = "§"
            case 1:
                del characters[place]
            case _:
                characters.insert(place, "§")
    return "".join(characters)


def spans_of_words(text, rng, longest):
    while True:
        start = rng.randrange(len(text) - longest)
        words = [match.span() for match in re.finditer(r"\S+", text[start : start + rng.randrange(60, longest)])][1:-1]
        yield start + words[0][0], start + words[-1][1]


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_slips_are_repaired_to_the_exact_slice(texts, count):
    rng = random.Random(count)
    for text in texts:
        folded = FoldedText(text)
        for (start, end), _ in zip(spans_of_words(text, rng, 240), range(12), strict=False):
            quote = slips(text[start:end], count, rng)
            (place,) = folded.matches(quote, 2)
            assert text[slice(*place.span)] == text[start:end], quote
            assert 1 <= place.edits <= count


def test_three_or_more_slips_are_not(texts):
    rng = random.Random(3)
    for text in texts:
        folded = FoldedText(text)
        for (start, end), count in zip(spans_of_words(text, rng, 240), (3, 3, 4, 5, 7), strict=False):
            quote = slips(text[start:end], count, rng)
            assert not folded.matches(quote, 2), quote
        assert folded.matches(slips(text[200:320], 3, rng), 3), "three where three are allowed"


def test_words_of_another_text_are_not_repaired_into_this_one(texts):
    rng = random.Random(4)
    folded = FoldedText(texts[0])
    for text in texts[1:]:
        for (start, end), _ in zip(spans_of_words(text, rng, 200), range(6), strict=False):
            if text[start:end] not in texts[0]:
                assert not folded.matches(text[start:end], 2)


def test_equally_near_places_are_all_told_and_the_nearer_one_alone():
    text = "The first mast is 48 metres tall. It hums. The first mast is 46 metres tall. The mast is painted."
    folded = FoldedText(text)
    assert [text[slice(*p.span)] for p in folded.matches("The first mast is 47 metres tall.", 2)] == [
        "The first mast is 48 metres tall.",
        "The first mast is 46 metres tall.",
    ]
    (place,) = folded.matches("The fist mast is 48 metres tall.", 2)
    assert place.span == (0, 33) and place.edits == 1
    # The same words at two places are the same quote.
    (place,) = FoldedText(f"{text} {text}").matches("The mast is paintet.", 2)
    assert place.span[1] == len(text)


@pytest.mark.parametrize(
    ("text", "quote", "slice_"),
    [
        ("He said: “It’s a no\u2011go”, and left.", '"It\'s a no-go", and left.', "“It’s a no\u2011go”, and left."),
        ("from 1914–1918 in\n   the ﬁeld … on", "1914-1918 in the field ... on", "1914–1918 in\n   the ﬁeld … on"),
        ("the cafe\u0301 in Zürich", "café in Zürich", "cafe\u0301 in Zürich"),
        ("soft\u00adhyphen in a word", "softhyphen in a", "soft\u00adhyphen in a"),
    ],
)
def test_typography_is_free(text, quote, slice_):
    (place,) = FoldedText(text).matches(quote, 0)
    assert (text[slice(*place.span)], place.edits) == (slice_, 0)


@pytest.mark.parametrize(
    ("text", "quote", "repaired"),
    [
        ("工业革命首先在英国开始，然后传播到大陆。", "工业革命首先在法国开始，然后", "工业革命首先在英国开始，然后"),
        ("بدأت الثورة في بريطانيا ثم انتشرت", "بدات الثورة في بريطانيا", "بدأت الثورة في بريطانيا"),
        ("Революция началась в Англии и затем", "Революция ачалась в Англии", "Революция началась в Англии"),
        ("Die Mühle wurde 1929 fertig.", "die Mühle wurde 1929 fertig!", "Die Mühle wurde 1929 fertig."),
    ],
)
def test_other_scripts_and_ends(text, quote, repaired):
    (place,) = FoldedText(text).matches(quote, 2)
    assert text[slice(*place.span)] == repaired


def test_short_quotes_have_no_slips():
    folded = FoldedText("The mast is red. The most is owed.")
    assert not folded.matches("mist is", 2) and not folded.matches("", 2) and not folded.matches("  ", 2)
    assert not folded.matches("thf mast is rfd", 2), "two edits in fifteen characters make other words"


def test_a_text_that_repeats_itself_takes_no_time():
    folded = FoldedText("ab" * 100_000)
    begun = time.monotonic()
    assert not folded.matches("ab" * 20 + "xx" + "ab" * 20, 2)
    assert time.monotonic() - begun < 5
