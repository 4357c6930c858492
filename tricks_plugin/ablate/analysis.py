"""What came of a study: every rung's values, its comparisons, its cost and its standing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .statistics import Comparison, Interval, compare, correct, mean_interval
from .study import Run, Rung, Study, Subject

__all__ = ['Analysis', 'Ratio', 'Reach', 'RungResult', 'SubjectResult', 'analyse']


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A cost of a rung against the first one's.

    Attributes:
        median: Median over the seeds that count, in seconds or MB; None where unknown.
        ratio: Geometric mean of the paired ratios to the first rung; None without pairs.
        seeds: How many pairs.
    """

    median: float | None = None
    ratio: float | None = None
    seeds: int = 0


@dataclasses.dataclass(frozen=True)
class Reach:
    """When a rung had the value that the first rung ends with, in the same seed.

    Attributes:
        fraction: Median over seeds of the training time up to the first validation that was at
            least as good, as a part of the first rung's whole training time; None unless more
            than half of the seeds got there.
        reached: In how many seeds it got there.
        seeds: In how many it could be looked up.
    """

    fraction: float | None = None
    reached: int = 0
    seeds: int = 0


@dataclasses.dataclass(frozen=True)
class RungResult:
    """What came of a rung.

    Attributes:
        rung: The rung.
        values: Of the runs that count, by seed, in the study's unit.
        mean: Of the values.
        deviation: Standard deviation of the values (n - 1).
        interval: 95 % t interval of the mean over seeds, not paired.
        planned: How many runs it has.
        states: How many runs are finished, failed, running and waiting, without the zeros.
        dead: Seeds by the trick that was not live in them.
        unknown: Seeds by the trick of which the evidence could not tell.
        to_first: Against the first rung; None for itself.
        to_reference: Against its reference; None where that is the first rung.
        time: Training time.
        memory: Peak memory.
        reach: Time to the first rung's final value.
    """

    rung: Rung
    values: dict[int, float]
    mean: float | None
    deviation: float | None
    interval: Interval | None
    planned: int
    states: dict[str, int]
    dead: dict[str, tuple[int, ...]]
    unknown: dict[str, tuple[int, ...]]
    to_first: Comparison | None
    to_reference: Comparison | None
    time: Ratio
    memory: Ratio
    reach: Reach

    @property
    def own(self) -> Comparison | None:
        """The comparison that tells of the rung's own change."""
        return self.to_reference or self.to_first

    @property
    def comparisons(self) -> list[Comparison]:
        """Those that there are."""
        return [one for one in (self.to_reference, self.to_first) if one is not None]


@dataclasses.dataclass(frozen=True)
class SubjectResult:
    """What came of a subject: its rungs in their order."""

    subject: Subject
    rungs: tuple[RungResult, ...]


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What came of a study.

    Attributes:
        study: The study.
        subjects: Its subjects, in their order.
    """

    study: Study
    subjects: tuple[SubjectResult, ...]

    @property
    def rungs(self) -> list[tuple[SubjectResult, RungResult]]:
        """Every rung with its subject."""
        return [(one, rung) for one in self.subjects for rung in one.rungs]

    @property
    def comparisons(self) -> list[Comparison]:
        """Every comparison of the study."""
        return [found for _, rung in self.rungs for found in rung.comparisons]

    @property
    def judged(self) -> list[Comparison]:
        """The comparisons that have a p value: those that chance can pass, each once."""
        return [one for one in self.comparisons if one.p is not None and not one.twin]


def analyse(study: Study) -> Analysis:
    """Works out every number that the reports print.

    Args:
        study: As it stands; runs may be missing, running or failed.
    """
    found = [SubjectResult(subject, tuple(_rung(study, subject, rung) for rung in subject.rungs))
             for subject in study.subjects]
    raw = Analysis(study, tuple(found)).comparisons
    adjusted = dict(zip(map(id, raw), _corrected(study, raw), strict=True))

    def corrected(rung: RungResult) -> RungResult:
        return dataclasses.replace(
            rung,
            to_first=adjusted[id(rung.to_first)] if rung.to_first else None,
            to_reference=adjusted[id(rung.to_reference)] if rung.to_reference else None)
    return Analysis(study, tuple(
        dataclasses.replace(one, rungs=tuple(map(corrected, one.rungs))) for one in found))


def _corrected(study: Study, raw: list[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's p values; those of the very same runs count once."""
    stand = {(subject.name, rung.name): rung.same_as or rung.name
             for subject in study.subjects for rung in subject.rungs}
    keys = [(one.subject, stand.get((one.subject, one.rung)),
             stand.get((one.subject, one.against))) for one in raw]
    unique = dict(zip(reversed(keys), reversed(raw), strict=True))
    holm = dict(zip(unique, correct(list(unique.values())), strict=True))
    return [dataclasses.replace(one, p_holm=holm[key].p_holm, twin=unique[key] is not one)
            for key, one in zip(keys, raw, strict=True)]


def _counts(run: Run) -> bool:
    return run.counts and run.value is not None and math.isfinite(run.value)


def _rung(study: Study, subject: Subject, rung: Rung) -> RungResult:
    runs = study.runs_of(subject.name, rung.name)
    first = subject.rungs[0]
    values = _values(study, subject, rung)
    numbers = list(values.values())
    others = [] if rung.name == first.name else [first.name]
    if rung.reference not in (None, first.name, rung.name):
        others.append(str(rung.reference))
    found = {name: _compare(study, subject, rung, name) for name in others}
    states = [runs[seed].status if seed in runs else 'waiting' for seed in study.seeds]
    baseline = study.runs_of(subject.name, first.name)
    return RungResult(
        rung, values,
        mean=float(np.mean(numbers)) if numbers else None,
        deviation=float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        interval=mean_interval(numbers),
        planned=len(study.seeds),
        states={name: states.count(name) for name in ('finished', 'failed', 'running', 'waiting')
                if name in states},
        dead=_tricks(runs, False), unknown=_tricks(runs, None),
        to_first=found.get(first.name),
        to_reference=found.get(rung.reference or '') if rung.reference != first.name else None,
        time=_ratio(runs, baseline, 'seconds'), memory=_ratio(runs, baseline, 'memory_mb'),
        reach=_reach(runs, baseline, study.greater))


def _values(study: Study, subject: Subject, rung: Rung) -> dict[int, float]:
    runs = study.runs_of(subject.name, rung.name)
    return {seed: float(runs[seed].value or 0) * study.factor
            for seed in sorted(runs) if _counts(runs[seed])}


def _tricks(runs: dict[int, Run], live: bool | None) -> dict[str, tuple[int, ...]]:
    """The seeds of finished runs by the trick that was found so in them."""
    found: dict[str, tuple[int, ...]] = {}
    for seed in sorted(runs):
        for check in runs[seed].checks if runs[seed].status == 'finished' else ():
            if check.live is live:
                found[check.trick] = (*found.get(check.trick, ()), seed)
    return found


def _compare(study: Study, subject: Subject, rung: Rung, against: str) -> Comparison:
    """The comparison with a rung of the same subject; a rung with a dead trick has none."""
    other = next((one for one in subject.rungs if one.name == against), None)
    if other is None:
        return Comparison(subject.name, rung.name, against, reason=f'no rung {against!r}')
    for side in (rung, other):
        dead = _tricks(study.runs_of(subject.name, side.name), False)
        if dead:
            where = '' if side is rung else f" (in {side.label})"
            text = '; '.join(f'{trick} was not live in {seed_list(seeds)}'
                             for trick, seeds in dead.items())
            return Comparison(subject.name, rung.name, against, reason=f'{text}{where}')
    found = compare(subject.name, rung.name, against, _values(study, subject, rung),
                    _values(study, subject, other), study.greater)
    if (rung.same_as or rung.name) != (other.same_as or other.name):
        return found
    return dataclasses.replace(found, verdict='unchanged', deviation=None,
                               reason=f'its runs are those of {other.label}')


def seed_list(seeds: tuple[int, ...]) -> str:
    """Seeds in words, such as ``seeds 0, 2``."""
    return f'seed{"s" * (len(seeds) != 1)} {", ".join(map(str, seeds))}'


def _ratio(runs: dict[int, Run], baseline: dict[int, Run], field: str) -> Ratio:
    def known(some: dict[int, Run]) -> dict[int, float]:
        found: dict[int, Any] = {seed: getattr(run, field) for seed, run in some.items()
                                 if _counts(run)}
        return {seed: value for seed, value in found.items() if value and value > 0}
    own, first = known(runs), known(baseline)
    pairs = [math.log(own[seed] / first[seed]) for seed in own.keys() & first.keys()]
    return Ratio(float(np.median(list(own.values()))) if own else None,
                 math.exp(math.fsum(pairs) / len(pairs)) if pairs else None, len(pairs))


def _reach(runs: dict[int, Run], baseline: dict[int, Run], greater: bool) -> Reach:
    fractions = []
    for seed, run in runs.items():
        first = baseline.get(seed)
        if first is None or not (_counts(run) and _counts(first)) or not run.curve \
                or not first.seconds or first.value is None:
            continue
        sign = 1 if greater else -1
        fractions.append(min((point.seconds / first.seconds for point in run.curve
                              if sign * point.value >= sign * first.value), default=math.inf))
    reached = sum(map(math.isfinite, fractions))
    middle = float(np.median(fractions)) if fractions else math.inf
    return Reach(middle if math.isfinite(middle) else None, reached, len(fractions))
