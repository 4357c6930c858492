"""Paired statistics against numbers worked by hand, tables and closed forms."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tricks_plugin.ablate import statistics
from tricks_plugin.ablate.statistics import (
    Comparison,
    compare,
    correct,
    mean_interval,
    power,
    seeds_to_show,
)


def versus(values, others, greater=True):
    return compare('s', 'rung', 'first', dict(enumerate(values)), dict(enumerate(others)), greater)


def test_differences_of_one_two_and_three():
    found = versus([62.0, 64.2, 63.1], [61.0, 62.2, 60.1])
    assert found.seeds == (0, 1, 2)
    assert found.differences == pytest.approx((1, 2, 3))
    assert found.mean == pytest.approx(2)
    assert found.deviation == pytest.approx(1)
    # t(2; 0.975) = 4.3027 from a table; half width 4.3027 / sqrt(3) = 2.4841.
    assert found.t_interval == pytest.approx((-0.4841, 4.4841), abs=1e-4)
    # With 2 degrees of freedom P(|T| > t) = 1 - t / sqrt(t^2 + 2); t = 2 sqrt(3).
    p = 1 - math.sqrt(12 / 14)
    assert found.p == pytest.approx(p, abs=1e-9)
    assert found.improvement == pytest.approx(1 - p / 2, abs=1e-9)
    assert found.bootstrap_method == 'BCa'
    low, high = found.bootstrap_interval
    assert 1 <= low < 2 < high <= 3 + 1e-9
    assert found.verdict == 'not shown'
    assert found.seeds_needed == 5  # d = 2: power 0.755 with 4 seeds, 0.909 with 5
    assert found.words == ('not shown with these seeds; 5 seeds in all (2 more) would show a '
                           'difference of this size')


def test_a_narrow_gain_is_a_gain_and_a_loss_where_less_is_better():
    # Mean 1, sd 0.1: half width 0.24841.
    values, others = [10.9, 11.1, 11.0], [10.0, 10.0, 10.0]
    gain, loss = versus(values, others), versus(values, others, greater=False)
    assert gain.t_interval == pytest.approx((0.75159, 1.24841), abs=1e-5) == loss.t_interval
    assert (gain.verdict, loss.verdict) == ('gains', 'loses')
    assert gain.improvement == pytest.approx(1 - loss.improvement)
    assert gain.improvement > 0.99
    assert gain.seeds_needed is None
    assert versus(others, values).verdict == 'loses'
    assert versus(others, values, greater=False).verdict == 'gains'


def test_only_seeds_of_both_sides_are_paired():
    found = compare('s', 'a', 'b', {1: 5.0, 2: 6.0, 4: 9.0}, {0: 1.0, 2: 5.5, 4: 8.0}, True)
    assert found.seeds == (2, 4)
    assert found.differences == pytest.approx((0.5, 1.0))
    assert found.bootstrap_interval is None  # two seeds: not given
    # t(1; 0.975) = 12.7062; sd = 0.35355, half width 12.7062 * 0.25 = 3.17655.
    assert found.t_interval == pytest.approx((0.75 - 3.17655, 0.75 + 3.17655), abs=1e-4)


@pytest.mark.parametrize(('values', 'others', 'verdict', 'words'), [
    ([5.0], [4.0], 'one seed', 'nothing shown; one seed gives no interval'),
    ([], [4.0], 'no result', 'no result; no seed in which both runs are results'),
    ([4.0, 5.0], [4.0, 5.0], 'no spread', 'the same value in every seed'),
    ([0.3, 0.4], [0.2, 0.3], 'no spread', 'the same difference in every seed; no spread to judge '
                                          'by'),
])
def test_where_there_is_nothing_to_judge_no_number_is_made_up(values, others, verdict, words):
    found = versus(values, others)
    assert found.verdict == verdict
    assert found.words == words
    assert found.t_interval is found.bootstrap_interval is found.p is found.improvement is None


def test_degenerate_resamples_fall_back_to_percentiles(monkeypatch):
    real = statistics.stats.bootstrap

    def bootstrap(*args, method, **kwargs):
        if method == 'BCa':
            nan = SimpleNamespace(low=math.nan, high=math.nan)
            return SimpleNamespace(confidence_interval=nan)
        return real(*args, method=method, **kwargs)
    monkeypatch.setattr(statistics.stats, 'bootstrap', bootstrap)
    found = versus([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    assert found.bootstrap_method == 'percentile'
    # 1/27 of the resamples are three times the least: more than the 2.5 % that are cut off.
    assert found.bootstrap_interval == pytest.approx((1, 3))


@pytest.mark.parametrize(('effect', 'seeds'), [
    (0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])  # Cohen's tables and G*Power: paired, two-sided
def test_seeds_for_a_power_of_four_in_five(effect, seeds):
    assert seeds_to_show(effect, 1.0) == seeds
    assert seeds_to_show(-3 * effect, 3.0) == seeds
    assert power(effect, seeds - 1) < 0.8 <= power(effect, seeds)


def test_seeds_are_found_for_large_and_tiny_effects():
    assert [seeds_to_show(effect, 1.0) for effect in (2, 5, 12, 20)] == [5, 3, 2, 2]
    assert seeds_to_show(12, 1.0, least=4) == 4
    assert seeds_to_show(0.05, 1.0) is None
    assert seeds_to_show(0.0, 1.0) is None
    assert seeds_to_show(0.0, 0.0) is None


def test_holm_multiplies_and_never_falls():
    found = correct([Comparison('s', name, 'first', p=p) for name, p in
                     (('a', 0.04), ('b', 0.01), ('c', None), ('d', 0.03), ('e', 0.6))])
    # Sorted 0.01, 0.03, 0.04, 0.6 times 4, 3, 2, 1: 0.04, 0.09, 0.08 -> 0.09, 0.6.
    assert [one.p_holm for one in found] == pytest.approx([0.09, 0.04, None, 0.09, 0.6])
    assert [one.holds for one in found] == [False, True, False, False, False]


def test_a_verdict_that_falls_to_holm_says_so():
    bare = versus([10.9, 11.1, 11.0], [10.0, 10.0, 10.0])  # p = 0.0033
    alone, = correct([bare])
    assert alone.words == 'gains'
    many = correct([bare] + [Comparison('s', f'{i}', 'first', p=0.5) for i in range(15)])
    assert many[0].words == 'gains; not after Holm’s correction'


def test_the_interval_of_a_mean():
    # sd = 1, n = 3: 2 +- 2.4841.
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((-0.4841, 4.4841), abs=1e-4)
    assert mean_interval([1.0]) is None
    assert mean_interval([2.0, 2.0]) is None


NUMBERS = st.floats(-100, 100).map(lambda value: round(value, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=0, max_size=6), st.booleans())
def test_either_side_sees_the_same_with_its_sign_turned(pairs, greater):
    one = versus([a for a, _ in pairs], [b for _, b in pairs], greater)
    other = versus([b for _, b in pairs], [a for a, _ in pairs], greater)
    numbers = [one.mean, one.deviation, one.p, one.improvement, *(one.t_interval or ()),
               *(one.bootstrap_interval or ())]
    assert all(number is None or math.isfinite(number) for number in numbers)
    if one.mean is not None:
        assert one.mean == pytest.approx(-other.mean, abs=1e-9)
    if one.t_interval is not None:
        assert one.t_interval == pytest.approx([-end for end in reversed(other.t_interval)],
                                               abs=1e-6)
        assert one.p == pytest.approx(other.p)
        turned = {'gains': 'loses', 'loses': 'gains'}
        assert other.verdict == turned.get(one.verdict, one.verdict)
        assert one.seeds_needed == other.seeds_needed
