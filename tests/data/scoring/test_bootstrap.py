import numpy as np
import pytest

from data.scoring.bootstrap import bootstrap_interval, paired_difference


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(1).random(400) < 0.3
    low, high = bootstrap_interval(values)
    error = 1.96 * np.sqrt(values.mean() * (1 - values.mean()) / 400)
    assert low == pytest.approx(values.mean() - error, abs=0.006)
    assert high == pytest.approx(values.mean() + error, abs=0.006)
    assert bootstrap_interval(values) == (low, high) != bootstrap_interval(values, seed=1)
    narrow = bootstrap_interval(values, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_the_interval_of_a_ratio_draws_questions():
    assert bootstrap_interval(np.ones(5)) == (1, 1)
    assert bootstrap_interval(np.array([0, 2, 0]), np.array([0, 2, 0])) == (1, 1)
    low, high = bootstrap_interval(np.array([3, 0] * 50), np.array([3, 1] * 50))
    assert low < 0.75 < high


def test_a_paired_difference_is_that_of_the_same_questions():
    """Hard questions are hard for both: the interval is that of the differences and narrower than each side's own."""
    rng = np.random.default_rng(3)
    hard = rng.random(300)
    ones = np.ones(300)
    better = np.clip(hard + 0.05 + 0.02 * rng.normal(size=300), 0, 1)
    found = paired_difference((better, ones), (hard, ones))
    error = 1.96 * (better - hard).std() / np.sqrt(300)
    assert found.change == pytest.approx((better - hard).mean())
    assert found.low == pytest.approx(found.change - error, abs=0.002)
    assert found.high == pytest.approx(found.change + error, abs=0.002)
    assert found.p == pytest.approx(2 / 2001), "no draw is on the other side"
    assert paired_difference((hard, ones), (better, ones)).change == -found.change


def test_p_is_that_of_the_normal_law_and_one_where_nothing_differs():
    rng = np.random.default_rng(4)
    ones = np.ones(400)
    new, old = (rng.random(400) < 0.33).astype(float), (rng.random(400) < 0.30).astype(float)
    z = (new - old).mean() / ((new - old).std() / np.sqrt(400))
    from scipy.stats import norm

    assert paired_difference((new, ones), (old, ones)).p == pytest.approx(2 * norm.sf(abs(z)), abs=0.05)
    same = paired_difference((new, ones), (new, ones))
    assert (same.change, same.low, same.high, same.p) == (0, 0, 0, 1)
