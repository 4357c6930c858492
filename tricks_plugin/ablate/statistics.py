"""What paired differences over seeds tell: intervals, probabilities and a verdict in words.

The tests and distributions are SciPy's. A difference is ``value - other`` of the same seed, in
the unit of the study; whether more or less of it is better, the study says.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats

__all__ = ['Comparison', 'Interval', 'Verdict', 'compare', 'correct', 'mean_interval', 'power',
           'seeds_to_show']

Interval = tuple[float, float]
Verdict = Literal['gains', 'loses', 'not shown', 'no spread', 'one seed', 'unchanged', 'no result']

LEVEL = 0.95
POWER = 0.8
MOST_SEEDS = 1000
_RESAMPLES = 9999
_ROUNDING = 1e-9  # relative: below it, differences of floats differ by rounding alone


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A rung against another one, seed by seed.

    Attributes:
        subject: Name of the subject.
        rung: Name of the rung.
        against: Name of the rung that it is compared with.
        seeds: Those in which both sides are results.
        differences: Of these seeds, in the study's unit.
        mean: Of the differences; None without any.
        deviation: Standard deviation of the differences (n - 1); None below two.
        t_interval: 95 % interval of the mean difference by Student's t; None below two seeds and
            where all differences are equal.
        bootstrap_interval: The same by resampling the seeds; None below three.
        bootstrap_method: ``BCa``, or ``percentile`` where BCa is not defined.
        p: Two-sided, of the paired t test.
        p_holm: The same, adjusted by Holm for all comparisons of the study.
        improvement: Probability that the true mean difference is to the better: the part of the
            t distribution around the mean difference that lies on the better side of 0.
        verdict: In one or two words.
        seeds_needed: Where nothing is shown, how many seeds in all show a difference of this
            size in four of five studies; None where that has no answer or exceeds 1000.
        reason: Why there is no result, or nothing to compare; empty where there is one.
        twin: Whether another rung of the very same training has this comparison too; counted
            once.
    """

    subject: str
    rung: str
    against: str
    seeds: tuple[int, ...] = ()
    differences: tuple[float, ...] = ()
    mean: float | None = None
    deviation: float | None = None
    t_interval: Interval | None = None
    bootstrap_interval: Interval | None = None
    bootstrap_method: str | None = None
    p: float | None = None
    p_holm: float | None = None
    improvement: float | None = None
    verdict: Verdict = 'no result'
    seeds_needed: int | None = None
    reason: str = ''
    twin: bool = False

    @property
    def holds(self) -> bool:
        """Whether a difference is shown, with the other comparisons taken into account."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL

    @property
    def words(self) -> str:
        """The verdict as a sentence's part."""
        if self.verdict in ('gains', 'loses'):
            return self.verdict if self.holds else f'{self.verdict}; not after Holm’s correction'
        if self.verdict == 'not shown':
            return f'not shown with these seeds; {self._needed()}'
        if self.verdict == 'no spread':
            return ('the same value in every seed' if self.mean == 0 else
                    'the same difference in every seed; no spread to judge by')
        if self.verdict == 'one seed':
            return 'nothing shown; one seed gives no interval'
        start = 'changes nothing here' if self.verdict == 'unchanged' else 'no result'
        return f'{start}; {self.reason}'

    def _needed(self) -> str:
        if self.mean == 0:
            return 'the mean difference is 0'
        if self.seeds_needed is None:
            return f'more than {MOST_SEEDS} seeds would show a difference of this size'
        more = self.seeds_needed - len(self.seeds)
        return (f'{self.seeds_needed} seeds in all ({more} more) would show a difference of this '
                'size')

    def to_dict(self) -> dict[str, Any]:
        """Plain, for JSON, with the verdict's words."""
        return {**dataclasses.asdict(self), 'words': self.words}


def compare(subject: str, rung: str, against: str, values: Mapping[int, float],
            others: Mapping[int, float], greater: bool) -> Comparison:
    """Compares two rungs over the seeds that both have.

    Args:
        subject: Name of the subject.
        rung: Name of the rung.
        against: Name of the other one.
        values: Of the rung by seed, in the study's unit.
        others: Of the other one.
        greater: Whether more is better.
    """
    seeds = tuple(sorted(values.keys() & others.keys()))
    names = Comparison(subject, rung, against, seeds)
    if not seeds:
        return dataclasses.replace(names, reason='no seed in which both runs are results')
    left = np.array([values[seed] for seed in seeds], float)
    right = np.array([others[seed] for seed in seeds], float)
    differences = left - right
    mean = float(differences.mean())
    scale = float(max(np.abs(left).max(), np.abs(right).max()))
    names = dataclasses.replace(names, differences=tuple(differences.tolist()), mean=mean)
    if len(seeds) == 1:
        return dataclasses.replace(names, verdict='one seed')
    if np.ptp(differences) <= _ROUNDING * scale:
        mean = 0.0 if abs(mean) <= _ROUNDING * scale else mean
        return dataclasses.replace(names, mean=mean, deviation=0.0, verdict='no spread')
    return _judge(names, left, right, greater)


def _judge(names: Comparison, left: np.ndarray, right: np.ndarray, greater: bool) -> Comparison:
    """Intervals, probability and verdict of two or more differences that are not all equal."""
    differences = left - right
    count, mean = len(differences), float(differences.mean())
    deviation = float(differences.std(ddof=1))
    test = stats.ttest_rel(left, right)
    low, high = map(float, test.confidence_interval(LEVEL))
    error = deviation / math.sqrt(count)
    above = float(stats.t.sf(0, count - 1, loc=mean, scale=error))
    shown = low > 0 or high < 0
    verdict: Verdict = 'not shown'
    if shown:
        verdict = 'gains' if (low > 0) == greater else 'loses'
    interval, method = _bootstrap(differences)
    return dataclasses.replace(
        names, deviation=deviation, t_interval=(low, high), bootstrap_interval=interval,
        bootstrap_method=method, p=float(test.pvalue),
        improvement=above if greater else 1 - above, verdict=verdict,
        seeds_needed=None if shown else seeds_to_show(mean, deviation, count + 1))


def _bootstrap(differences: np.ndarray) -> tuple[Interval | None, str | None]:
    """The interval of the mean by resampling seeds with a fixed generator, and its method."""
    if len(differences) < 3:
        return None, None
    for method in ('BCa', 'percentile'):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # BCa of degenerate data is NaN, and warns of it
            found = stats.bootstrap(
                (differences,), np.mean, confidence_level=LEVEL, n_resamples=_RESAMPLES,
                method=method, rng=np.random.default_rng(0)).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            return (float(found.low), float(found.high)), method
    return None, None


def power(effect: float, seeds: int) -> float:
    """Power of the two-sided paired t test at 5 %, from the noncentral t distribution.

    Args:
        effect: Mean difference by the standard deviation of the differences (Cohen's d).
        seeds: How many pairs, at least two.
    """
    bound = stats.t.ppf((1 + LEVEL) / 2, seeds - 1)
    shift = abs(effect) * math.sqrt(seeds)
    # The far side is below 1e-6 from a shift of 5 on, where SciPy may answer NaN.
    far = stats.nct.cdf(-bound, seeds - 1, shift) if shift < 5 else 0.0
    return float(stats.nct.sf(bound, seeds - 1, shift) + far)


def seeds_to_show(mean: float, deviation: float, least: int = 2) -> int | None:
    """How many seeds show a difference of this size with a power of 0.8 at 5 %.

    The size that was seen is itself uncertain, and so is this number.

    Args:
        mean: Mean difference.
        deviation: Standard deviation of the differences.
        least: The smallest answer.

    Returns:
        The number; None beyond 1000.
    """
    if deviation == 0:
        return None if mean == 0 else least
    effect, high = mean / deviation, least
    # Doubling keeps the noncentrality small: SciPy's nct loses its digits where it is large.
    while not power(effect, high) >= POWER:
        high *= 2
        if high > 2 * MOST_SEEDS:
            return None
    low = max(least, high // 2)
    while low < high:
        middle = (low + high) // 2
        if power(effect, middle) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low if low <= MOST_SEEDS else None


def mean_interval(values: Sequence[float]) -> Interval | None:
    """95 % interval of the mean of unpaired values by Student's t; None below two or all equal."""
    if len(values) < 2 or np.ptp(values) <= _ROUNDING * float(np.abs(values).max()):
        return None
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    return float(low), float(high)


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Adds the p values that Holm's step-down method adjusts for the number of comparisons.

    Holm (1979): the i-th smallest of m is multiplied with m - i + 1, and none becomes smaller
    than the one before. It holds however the comparisons depend on each other.

    Args:
        comparisons: All of a study; those without a p value stay as they are.
    """
    adjusted: dict[int, float] = {}
    judged = [(one.p, index) for index, one in enumerate(comparisons) if one.p is not None]
    highest = 0.0
    for rank, (p, index) in enumerate(sorted(judged)):
        highest = max(highest, min(1.0, (len(judged) - rank) * p))
        adjusted[index] = highest
    return [dataclasses.replace(one, p_holm=adjusted.get(index))
            for index, one in enumerate(comparisons)]
