"""The rule by which a new model becomes the champion, and its intervals beside scipy's."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from data.evaluation.champion import (
    Marks,
    PromotionDecision,
    PromotionSettings,
    compare,
    comparison_table,
    decide,
    in_common,
)


def marks(f1: float, number: int = 0, **changes: object) -> Marks:
    """A sound answer: one verbatim quote, from the oracle."""
    return replace(Marks(f"q{number}", f1, float(f1 == 1), 1, 1, True, True), **changes)


def answers(scores: object, **changes: object) -> list[Marks]:
    return [marks(float(score), number, **changes) for number, score in enumerate(scores)]


def judged(new: list[Marks], standing: list[Marks], first: bool = False, **settings: object) -> PromotionDecision:
    rule = PromotionSettings(**settings)
    return decide(compare(new, standing), len(new), "the champion", rule, first=first)


RNG = np.random.default_rng(5)
OLD = answers(RNG.uniform(0, 0.5, 60))
BETTER = answers([m.token_f1 + shift for m, shift in zip(OLD, RNG.uniform(0.1, 0.4, 60), strict=True)])
NOISE = answers(np.clip([m.token_f1 + shift for m, shift in zip(OLD, RNG.normal(0.01, 0.2, 60), strict=True)], 0, 1))


def test_better_with_certainty_and_better_by_chance() -> None:
    won, chance = judged(BETTER, OLD), judged(NOISE, OLD)
    assert won.promoted and "over 60 questions against the champion: the interval excludes a loss" in won.reason
    assert not chance.promoted and "the interval does not exclude a loss" in chance.reason
    assert not judged(OLD, BETTER).promoted


def test_the_same_answers_are_no_better_but_not_worse() -> None:
    same = judged(OLD, OLD)
    assert not same.promoted and same.reason.startswith("token F1 +0.0 (0.0 to 0.0)") and "no better" in same.reason
    assert judged(OLD, OLD, rule="not_worse", tolerance=0).promoted
    # Two questions are answered better and none worse: nothing that can be drawn is a loss.
    few = [*answers([m.token_f1 + 0.3 for m in OLD[:2]]), *OLD[2:]]
    assert judged(few, OLD).promoted


def test_not_worse_allows_a_small_loss() -> None:
    less = [replace(m, token_f1=m.token_f1 - 0.01) for m in OLD]
    assert judged(less, OLD, rule="not_worse").promoted
    assert not judged(less, OLD, rule="not_worse", tolerance=0.005).promoted


@pytest.mark.parametrize(
    "change",
    [{"verbatim_quotes": 0}, {"cites_oracle": False}, {"abstention_right": False}, {"quotes": 0, "verbatim_quotes": 0}],
)
def test_a_guard_that_drops_holds_a_better_model_back(change: dict[str, object]) -> None:
    worse = [replace(m, **change) if number < 6 else m for number, m in enumerate(BETTER)]
    guard = {"quotes": "quote_rate"}.get(next(iter(change)))
    guards = (guard,) if guard else PromotionSettings().guards
    held = judged(worse, OLD, guards=guards)
    assert not held.promoted and "dropped from 100.0 to 90.0, more than promotion.margin (5 points)" in held.reason
    assert judged(worse, OLD, guards=guards, margin=0.1).promoted, "the margin itself is allowed"
    assert judged(worse, OLD, guards=()).promoted


def test_quotes_that_are_gone() -> None:
    bare = [replace(m, quotes=0, verbatim_quotes=0) for m in BETTER]
    assert "quote precision is undefined" in judged(bare, OLD, guards=("quote_precision",)).reason
    assert judged(BETTER, [replace(m, quotes=0, verbatim_quotes=0) for m in OLD]).promoted, "the base has none"


def test_the_metric_and_the_guards_are_those_of_the_settings() -> None:
    exact = [replace(m, token_f1=0.0, exact_match=1.0) for m in OLD]
    assert judged(exact, OLD, metric="exact_match").promoted
    assert not judged(exact, OLD).promoted
    lost = [replace(m, exact_match=1.0) for m in OLD]
    assert "exact match dropped" in judged(BETTER, lost, guards=("exact_match",)).reason


def test_few_questions_decide_nothing_but_by_always_and_never() -> None:
    assert "5 questions are too few: promotion.min_questions is 30" in judged(BETTER[:5], OLD[:5]).reason
    assert judged(BETTER[:5], OLD[:5], min_questions=5).promoted
    assert judged(OLD[:5], BETTER[:5], rule="always").promoted
    assert not judged(BETTER, OLD, rule="never").promoted


def test_the_first_model() -> None:
    assert not judged(OLD, BETTER, first=True).promoted, "it must beat the base"
    assert decide(compare(OLD, BETTER), 60, "base", PromotionSettings(first="always"), first=True).promoted
    assert not decide(compare(OLD, BETTER), 60, "base", PromotionSettings(first="always")).promoted
    assert judged(BETTER, OLD, first=True).promoted


def test_questions_in_common_are_paired_by_id() -> None:
    new, old = in_common(BETTER[2:], list(reversed(OLD[:5])))
    assert [m.question_id for m in new] == [m.question_id for m in old] == ["q2", "q3", "q4"]
    assert new == BETTER[2:5] and old == OLD[2:5]


def test_the_interval_is_that_of_scipys_paired_bootstrap() -> None:
    """Of a mean and of a ratio; both intervals are of drawn samples, so they agree within their spread."""
    rng = np.random.default_rng(3)

    def side(share: float) -> list[Marks]:
        quotes = rng.integers(1, 4, 80)
        right = rng.binomial(quotes, share)
        return [
            marks(f1, i, quotes=int(quotes[i]), verbatim_quotes=int(right[i])) for i, f1 in enumerate(rng.random(80))
        ]

    new, old = side(0.9), side(0.6)
    columns = [np.array([(m.token_f1, m.verbatim_quotes, m.quotes) for m in marked], float).T for marked in (new, old)]
    by_metric = {difference.metric: difference for difference in compare(new, old, seed=1)}
    statistics = {
        "token_f1": ((columns[0][0], columns[1][0]), lambda a, b: a.mean() - b.mean()),
        "quote_precision": (
            (columns[0][1], columns[0][2], columns[1][1], columns[1][2]),
            lambda a, b, c, d: a.sum() / b.sum() - c.sum() / d.sum(),
        ),
    }
    for metric, (data, statistic) in statistics.items():
        theirs = stats.bootstrap(
            data, statistic, paired=True, vectorized=False, method="percentile", n_resamples=4000, rng=rng
        ).confidence_interval
        ours = by_metric[metric]
        width = theirs.high - theirs.low
        assert abs(ours.low - theirs.low) < 0.07 * width and abs(ours.high - theirs.high) < 0.07 * width
        assert ours.change == pytest.approx(statistic(*data))


def test_a_seed_gives_the_same_interval() -> None:
    assert compare(NOISE, OLD, seed=4) == compare(NOISE, OLD, seed=4) != compare(NOISE, OLD, seed=5)


def test_the_table() -> None:
    bare = [replace(m, quotes=0, verbatim_quotes=0) for m in OLD]
    table = comparison_table(compare(answers([1.0] * 60), bare), "new", "old")
    assert "| quote precision  | 100.0 | -     | -  " in table
    assert "| abstains rightly | 100.0 | 100.0 | +0.0 (0.0 to 0.0)" in table
