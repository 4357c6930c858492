"""Numbers as text, and the sentences of a report: each is true of these runs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..analysis import Analysis, Ratio, Reach, RungResult, SubjectResult, seed_list
from ..statistics import Comparison, Interval
from ..study import Study

__all__ = ['MISSING', 'Numbers', 'chance', 'ends', 'headline', 'method', 'standing', 'warnings']

MISSING = '–'
_VERDICTS = (('gains', 'gain'), ('loses', 'lose'), ('not shown', 'not shown'),
             ('no spread', 'without spread over seeds'), ('one seed', 'with one seed only'),
             ('unchanged', 'without effect on the settings'),
             ('no result', 'no result'))
_BETTER = {True: 'higher is better', False: 'lower is better'}


class Numbers:
    """How the numbers of a study are printed: equal decimals, so that columns align.

    Args:
        analysis: Its values choose the decimals, its times the unit of time.
    """

    def __init__(self, analysis: Analysis) -> None:
        values = [abs(value) for _, rung in analysis.rungs for value in rung.values.values()]
        largest = max(values, default=10.0)
        self.decimals = 2 if largest >= 10 else 3 if largest >= 1 else 4
        self.unit = analysis.study.unit
        # A difference of two percentages is no percentage.
        self.difference_unit = 'points' if self.unit == '%' else self.unit
        seconds = max((run.seconds or 0 for run in analysis.study.runs), default=0)
        self.time_unit, self.time_factor = (
            ('s', 1.0) if seconds < 300 else ('min', 60.0) if seconds < 3 * 3600 else ('h', 3600.0))

    def value(self, number: float | None) -> str:
        """In the study's unit, without it."""
        return MISSING if number is None else f'{number:.{self.decimals}f}'

    def spread(self, mean: float | None, deviation: float | None) -> str:
        """A mean with the standard deviation over seeds, where there are two or more."""
        return self.value(mean) if deviation is None else \
            f'{self.value(mean)} ± {self.value(deviation)}'

    def signed(self, number: float | None) -> str:
        """A difference, with its sign unless it rounds to 0."""
        if number is None:
            return MISSING
        text = f'{number:+.{self.decimals}f}'
        return text if text.strip('+-0.') else text[1:]

    def interval(self, interval: Interval | None) -> str:
        """Of differences."""
        return MISSING if interval is None else \
            f'{self.signed(interval[0])} to {self.signed(interval[1])}'

    def with_unit(self, comparison: Comparison) -> str:
        """A difference with its interval and seeds, for sentences."""
        text = f'{self.signed(comparison.mean)} {self.difference_unit}'
        seeds = plural(len(comparison.seeds), 'seed')
        if comparison.t_interval is None:
            return f'{text} ({seeds})'
        return f'{text} (95 % interval {self.interval(comparison.t_interval)}; {seeds})'

    def time(self, seconds: float | None) -> str:
        """In the study's unit of time, without it."""
        return MISSING if seconds is None else f'{seconds / self.time_factor:.1f}'

    @staticmethod
    def percent(part: float | None) -> str:
        """A probability in percent; never 0 or 100, which no sample shows."""
        if part is None:
            return MISSING
        return '< 0.1' if part < 0.001 else '> 99.9' if part > 0.999 else f'{100 * part:.1f}'

    @staticmethod
    def p(value: float | None) -> str:
        """A p value."""
        return MISSING if value is None else '< 0.0001' if value < 0.0001 else f'{value:.4f}'

    @staticmethod
    def ratio(ratio: Ratio) -> str:
        """Times the first rung's."""
        return MISSING if ratio.ratio is None else f'{ratio.ratio:.2f}'

    @staticmethod
    def reach(reach: Reach) -> str:
        """Such as ``0.43 of the time``."""
        if not reach.seeds:
            return MISSING
        if reach.fraction is None:
            return f'not reached ({reach.reached} of {plural(reach.seeds, "seed")})'
        part = '' if reach.reached == reach.seeds else f' ({reach.reached} of {reach.seeds} seeds)'
        return f'{reach.fraction:.2f} of the time{part}'


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f'{count} {noun}{"s" * (count != 1)}'


def listed(parts: Iterable[str]) -> str:
    """Parts joined as in a sentence."""
    *most, last = parts
    return f'{", ".join(most)} and {last}' if most else last


def headline(analysis: Analysis) -> list[str]:
    """What came out, in a few sentences."""
    numbers = Numbers(analysis)
    if analysis.study.mode == 'whole' or analysis.study.pairs:
        before, after = ends(analysis.study)
        same = 'the same training ' if analysis.study.mode == 'whole' else ''
        return [_sorted_by_verdict(
            [(one.subject.label, one.rungs[-1].own) for one in analysis.subjects],
            f'{after[0].upper()}{after[1:]}, against {same}{before}')]
    found = []
    for one in analysis.subjects:
        name = f'{one.subject.label}: ' if len(analysis.subjects) > 1 else ''
        found += [f'{name}{sentence}' for sentence in _of_subject(analysis.study, one, numbers)]
    return found


def ends(study: Study) -> tuple[str, str]:
    """What the two rungs of each subject are, as said behind a model's name."""
    if study.mode == 'whole':
        return 'without the bag', 'with the bag'
    before, after = (one.label for one in study.subjects[0].rungs)
    return f'“{before}”', f'“{after}”'


def _of_subject(study: Study, one: SubjectResult, numbers: Numbers) -> list[str]:
    rungs = one.rungs[1:]
    found = []
    if study.mode == 'stack' and len(rungs) > 1:
        found.append(_together(rungs[-1], numbers))
    if study.mode == 'leave-one-out' and rungs:
        found.append(_together(rungs[0], numbers))
        rungs = rungs[1:]
    start = {'stack': 'Step by step, each against the rung before',
             'leave-one-out': 'Without one of them, against all together'}.get(
                 study.mode, f'Each against {_first(one)}')
    if rungs:
        found.append(_sorted_by_verdict([(rung.rung.label, rung.own) for rung in rungs], start))
    return found


def _first(one: SubjectResult) -> str:
    rung = one.rungs[0].rung
    plain = rung.tricks is None and 'as it is' in rung.label  # not one with settings of its own
    return 'the config as it is' if plain else f'the first rung (“{rung.label}”)'


def _together(rung: RungResult, numbers: Numbers) -> str:
    """The sentence about all tricks against the first rung."""
    whole = rung.to_first
    start = f'All tricks together (“{rung.rung.label}”) against the first rung: '
    if whole is None or whole.mean is None:
        return f'{start}{whole.words if whole else "no result"}.'
    words = whole.words.replace('; not', ', but not')
    text = f'{start}{numbers.with_unit(whole)}: {words}.'
    cost = []
    if rung.time.ratio is not None:
        cost.append(f'it trains {rung.time.ratio:.2f} times as long')
    if rung.reach.fraction is not None:
        cost.append(f'reaches the first rung’s final value in {numbers.reach(rung.reach)}')
    return f'{text} {listed(cost).capitalize()}.' if cost else text


def _sorted_by_verdict(pairs: list[tuple[str, Comparison | None]], start: str) -> str:
    groups = []
    for verdict, words in _VERDICTS:
        names = [name for name, found in pairs
                 if (found.verdict if found else 'no result') == verdict]
        if names:
            if len(names) == 1 and verdict in ('gains', 'loses'):
                words = verdict
            shown = names if len(names) <= 4 else [*names[:3], f'{len(names) - 3} more']
            groups.append(f'{len(names)} {words} ({", ".join(shown)})')
    return f'{start}: {"; ".join(groups)}.'


def chance(analysis: Analysis) -> str:
    """What several comparisons do to chance."""
    judged = analysis.judged
    count = len(judged)
    if not count:
        return ('No comparison has two paired seeds with different outcomes, so no interval is '
                'given and nothing is shown.')
    shown = sum(one.verdict in ('gains', 'loses') for one in judged)
    holding = sum(one.holds for one in judged)
    if count == 1:
        return ('One comparison at 5 %: were there no difference, it would be shown with a '
                'probability of 5 %.')
    return (f'{count} comparisons are made at 5 % each: were there no difference anywhere, '
            f'{count * 0.05:.2f} of them would be expected to be shown by chance alone (if they '
            f'were independent, at least one with a probability of '
            f'{100 * (1 - 0.95 ** count):.0f} %). {shown} of {count} are shown, '
            f'{holding} also after Holm’s correction for all {count}.')


def standing(study: Study) -> str:
    """How many runs there are, and in what state."""
    total = len(study.seeds) * sum(len(subject.rungs) for subject in study.subjects)
    states = [study_run.status for study_run in study.runs]
    parts = [f'{states.count(name)} {name}' for name in ('failed', 'running') if name in states]
    waiting = total - sum(states.count(name) for name in ('finished', 'failed', 'running'))
    parts += [f'{waiting} waiting'] if waiting > 0 else []
    done = f'{states.count("finished")} of {plural(total, "run")} finished'
    return ', '.join([done, *parts])


def warnings(analysis: Analysis) -> list[str]:
    """What a reader must know before he believes the table."""
    found = []
    study = analysis.study
    if len(study.seeds) < 2:
        found.append('One seed or none: no interval can be given, and nothing is shown.')
    several = len(study.subjects) > 1
    for one, rung in analysis.rungs:
        name = f'{one.subject.label}, {rung.rung.label}' if several else rung.rung.label
        for trick, seeds in rung.dead.items():
            found.append(f'{name}: {trick} was not live in {seed_list(seeds)}; the rung is no '
                         'result.')
        for trick, seeds in rung.unknown.items():
            found.append(f'{name}: the evidence could not tell whether {trick} was live in '
                         f'{seed_list(seeds)}.')
    for run in study.runs:
        if run.status == 'failed':
            found.append(f'{run.subject}/{run.rung}, seed {run.seed} failed: '
                         f'{run.error or "no message"}')
        elif run.status == 'finished' and (run.value is None or not math.isfinite(run.value)):
            found.append(f'{run.subject}/{run.rung}, seed {run.seed}: '
                         f'{run.error or "the metric is no number"}; the run does not count.')
    return found


def method(study: Study) -> list[str]:
    """How the numbers are made."""
    return [
        f'{study.metric} of the last checkpoint, {_BETTER[study.greater]}; nothing was chosen on '
        'the validation set. A difference is the rung minus the other one, of the same seed '
        '(same initial weights, same order of images).',
        '95 % interval: Student’s t of the paired differences. “Gains” and “loses” mean that it '
        'leaves out 0. Bootstrap interval: seeds drawn again 9999 times (BCa; percentile where '
        'BCa is not defined), from three seeds on; with few seeds it is too narrow, so that '
        'the t interval decides.',
        'Probability of improvement: the part of the t distribution of the mean difference '
        '(mean, standard error, n − 1 degrees of freedom) on the better side of 0.',
        'Seeds that would show a difference: for a paired t test at 5 % with a power of 80 %, '
        'were the true difference and spread as seen. Both are uncertain, and so is this number.',
        'Time and memory: geometric mean over seeds of the ratio to the first rung. Time is '
        'training without validation. Time to the first rung’s final value: up to the first '
        'validation that was as good, as a part of the first rung’s whole training time, median '
        'over seeds.',
        'A rung in which a trick was not live in some run is no result and is compared with '
        'nothing.',
    ]
