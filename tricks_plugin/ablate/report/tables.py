"""The tables of a report as text cells, and every number for JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any, Literal

from ..analysis import Analysis, RungResult, SubjectResult
from ..statistics import MOST_SEEDS, Comparison
from ..study import Run
from .words import MISSING, Numbers, ends

__all__ = ['Column', 'Row', 'Section', 'Table', 'against', 'comparison_table', 'csv_text',
           'numbers_dict', 'result_table', 'run_table', 'sections']


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: its title, its unit, and what its cells hold."""

    title: str
    unit: str = ''
    kind: Literal['number', 'text', 'verdict', 'word'] = 'number'

    @property
    def header(self) -> str:
        """Title and unit."""
        return f'{self.title}, {self.unit}' if self.unit else self.title

    @property
    def number(self) -> bool:
        """Whether its cells are numbers."""
        return self.kind == 'number'


@dataclasses.dataclass(frozen=True)
class Row:
    """Cells, and the verdict that the row is marked with."""

    cells: tuple[str, ...]
    mark: str = ''


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows of text."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """What stands under one heading: a subject, or all of them where each is one comparison."""

    title: str
    subjects: tuple[SubjectResult, ...]

    @property
    def rungs(self) -> list[tuple[str, SubjectResult, RungResult]]:
        """Its rungs with their labels, which name the subject where there are several."""
        several = len(self.subjects) > 1
        return [(f'{one.subject.label}, {rung.rung.label}' if several else rung.rung.label, one,
                 rung) for one in self.subjects for rung in one.rungs]

    def compared(self, rung: RungResult, one: SubjectResult) -> str:
        """What is to be added to a label: that others of its table are compared otherwise."""
        others = [other.own.against for other in one.rungs if other.own and other.to_reference]
        first = rung.own is not None and rung.own.against == one.rungs[0].rung.name
        alike = len(others) > 1 and set(others) == {rung.rung.name}
        return ', against the first' if first and alike else ''


def sections(analysis: Analysis) -> list[Section]:
    """The headings of a study's tables."""
    if analysis.study.pairs:
        before, after = ends(analysis.study)
        return [Section(f'Every model, {before} and {after}', analysis.subjects)]
    return [Section(one.subject.label, (one,)) for one in analysis.subjects]


def against(analysis: Analysis) -> str:
    """What a rung is compared with in the first place."""
    return {'stack': 'the rung before', 'leave-one-out': 'all tricks',
            'whole': 'without'}.get(analysis.study.mode, 'the first')


def result_table(analysis: Analysis, section: Section) -> Table:
    """The rungs of a section, each against its reference."""
    study, numbers = analysis.study, Numbers(analysis)
    columns = (
        Column('Rung', kind='text'), Column(f'{study.metric}, mean ± SD', study.unit),
        Column(f'Against {against(analysis)}', numbers.difference_unit),
        Column('95 % interval', numbers.difference_unit), Column('Verdict', kind='verdict'),
        Column('Probability of improvement', '%'), Column('Training time', '× the first'),
        Column('Memory', '× the first'), Column('As good as the first after', kind='text'),
        Column('Runs that count', 'of all'))
    rows = []
    for label, one, rung in section.rungs:
        own = rung.own
        rows.append(Row((
            label + section.compared(rung, one), numbers.spread(rung.mean, rung.deviation),
            numbers.signed(own.mean if own else None),
            numbers.interval(own.t_interval if own else None), verdict(rung),
            numbers.percent(own.improvement if own else None), numbers.ratio(rung.time),
            numbers.ratio(rung.memory), numbers.reach(rung.reach),
            f'{len(rung.values)} of {rung.planned}'), _mark(rung)))
    return Table(columns, tuple(rows))


def verdict(rung: RungResult) -> str:
    """The verdict on a rung against its reference, with the runs that are missing."""
    missing = [f'{count} {state}' for state, count in rung.states.items() if state != 'finished']
    if rung.own is None:
        return '; '.join(['the first rung', *missing])
    words = 'no result yet' if _waits(rung) else rung.own.words
    return '; '.join([words, *missing])


def _waits(rung: RungResult) -> bool:
    """Whether a rung has no result because no run of it has come to its end."""
    return not rung.values and not rung.dead and not rung.states.keys() & {'failed', 'finished'}


def _mark(rung: RungResult) -> str:
    return 'first' if rung.own is None else 'waiting' if _waits(rung) else rung.own.verdict


def comparison_table(analysis: Analysis, section: Section) -> Table:
    """Every comparison of a section, with all that is known of it."""
    numbers = Numbers(analysis)
    unit = numbers.difference_unit
    columns = (
        Column('Rung', kind='text'), Column('Against', kind='text'),
        Column('Verdict', kind='word'), Column('Paired', 'seeds'),
        Column('Mean difference', unit), Column('SD', unit),
        Column('95 % t interval', unit), Column('95 % bootstrap interval', unit),
        Column('Probability of improvement', '%'), Column('p', 'paired t test'),
        Column('p', 'Holm'), Column('Would show it', 'seeds in all'))
    rows = []
    for label, one, rung in section.rungs:
        labels = {other.rung.name: other.rung.label for other in one.rungs}
        for found in rung.comparisons:
            method = ' (percentile)' if found.bootstrap_method == 'percentile' else ''
            rows.append(Row((
                label, labels.get(found.against, found.against), found.verdict,
                f'{len(found.seeds)}', numbers.signed(found.mean), numbers.value(found.deviation),
                numbers.interval(found.t_interval),
                numbers.interval(found.bootstrap_interval) + method,
                numbers.percent(found.improvement), numbers.p(found.p), numbers.p(found.p_holm),
                _needed(found)), found.verdict))
    return Table(columns, tuple(rows))


def _needed(found: Comparison) -> str:
    if found.verdict != 'not shown':
        return MISSING
    return f'> {MOST_SEEDS}' if found.seeds_needed is None else f'{found.seeds_needed}'


def run_table(analysis: Analysis, section: Section) -> Table:
    """Every run of a section."""
    study, numbers = analysis.study, Numbers(analysis)
    columns = (Column('Rung', kind='text'), Column('Seed'), Column('State', kind='verdict'),
               Column(study.metric, study.unit), Column('Training time', numbers.time_unit),
               Column('Peak memory', 'MB'), Column('Folder', kind='text'))
    rows = []
    for label, one, rung in section.rungs:
        runs = study.runs_of(one.subject.name, rung.rung.name)
        for seed in study.seeds:
            run = runs.get(seed) or Run(one.subject.name, rung.rung.name, seed)
            value = None if run.value is None else run.value * study.factor
            rows.append(Row((
                label, f'{seed}', state(run), numbers.value(value),
                numbers.time(run.seconds),
                MISSING if run.memory_mb is None else f'{run.memory_mb:.0f}',
                run.folder or MISSING), 'dead' if run.dead else run.status))
    return Table(columns, tuple(rows))


def state(run: Run) -> str:
    """The state of a run, with what went wrong."""
    if run.dead:
        return f'{run.status}, but not live: {", ".join(run.dead)}'
    return f'failed: {run.error}' if run.status == 'failed' and run.error else run.status


def numbers_dict(analysis: Analysis) -> list[dict[str, Any]]:
    """Every number of every rung, in the study's unit, seconds and MB, for JSON."""
    found = []
    for one, rung in analysis.rungs:
        found.append({
            'subject': one.subject.name, 'rung': rung.rung.name, 'label': rung.rung.label,
            'unit': analysis.study.unit, 'values': rung.values, 'mean': rung.mean,
            'deviation': rung.deviation, 'interval': rung.interval, 'planned': rung.planned,
            'states': rung.states, 'dead': rung.dead, 'unknown': rung.unknown,
            'to_first': rung.to_first.to_dict() if rung.to_first else None,
            'to_reference': rung.to_reference.to_dict() if rung.to_reference else None,
            'time_s': dataclasses.asdict(rung.time), 'memory_mb': dataclasses.asdict(rung.memory),
            'reach': dataclasses.asdict(rung.reach), 'verdict': verdict(rung)})
    return found


def csv_text(analysis: Analysis) -> str:
    """One row a comparison (a first rung has one against nothing), every number unrounded."""
    rows = []
    for one, rung in analysis.rungs:
        start = {
            'subject': one.subject.name, 'rung': rung.rung.name, 'label': rung.rung.label,
            'metric': analysis.study.metric, 'unit': analysis.study.unit,
            'runs_planned': rung.planned, 'runs_that_count': len(rung.values),
            'mean': rung.mean, 'deviation': rung.deviation, 'time_median_s': rung.time.median,
            'time_ratio': rung.time.ratio, 'memory_median_mb': rung.memory.median,
            'memory_ratio': rung.memory.ratio, 'reach_fraction': rung.reach.fraction,
            'reached_seeds': rung.reach.reached}
        comparisons: list[Comparison | None] = [*rung.comparisons]
        for found in comparisons or [None]:
            low, high = (found and found.t_interval) or (None, None)
            boot_low, boot_high = (found and found.bootstrap_interval) or (None, None)
            rows.append({**start, **({} if found is None else {
                'against': found.against, 'paired_seeds': len(found.seeds),
                'difference': found.mean, 'difference_deviation': found.deviation,
                't_low': low, 't_high': high, 'bootstrap_low': boot_low,
                'bootstrap_high': boot_high, 'p': found.p, 'p_holm': found.p_holm,
                'probability_of_improvement': found.improvement, 'verdict': found.verdict,
                'seeds_needed': found.seeds_needed, 'words': found.words})})
    keys = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, keys, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
