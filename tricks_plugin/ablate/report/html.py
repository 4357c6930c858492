"""The report as one HTML file that loads nothing."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

from markupsafe import Markup, escape

from ..analysis import Analysis, RungResult
from ..study import Rung, Study
from .curves import curves
from .render import render
from .scatter import cost, models
from .steps import steps
from .tables import Section, comparison_table, result_table, run_table, sections
from .words import chance, headline, method, plural, standing, warnings

__all__ = ['figures', 'html']

_MODES = {'stack': 'tricks one by one on top of each other', 'single': 'each trick alone',
          'leave-one-out': 'all tricks but one', 'whole': 'without and with the bag',
          'arms': 'named arms'}
_WORDS = {True: 'live', False: 'dead', None: 'unknown'}


@dataclasses.dataclass(frozen=True)
class _Cell:
    """What the evidence said of a trick in the runs of a rung."""

    text: str
    mark: str


def html(analysis: Analysis) -> str:
    """The whole report.

    Args:
        analysis: What came of the study.
    """
    study = analysis.study
    parts = sections(analysis)
    labels = [one.subject.label for one in analysis.subjects]
    title = labels[0] if len(labels) == 1 else f'{len(labels)} models' if labels else 'nothing'
    drawn = figures(analysis)
    return render(
        'report.html.j2', study=study, title=title, mode=_MODES[study.mode],
        seeds=plural(len(study.seeds), 'seed'), standing=standing(study),
        headline=headline(analysis), chance=chance(analysis), warnings=warnings(analysis),
        method=method(study), minus=minus, soft=soft, pictures=pictures, drawn=drawn,
        several=len(parts) > 1, starred=any(
            one.verdict in ('gains', 'loses') and not one.holds for one in analysis.comparisons),
        sections=[{'title': part.title, 'index': index, 'result': result_table(analysis, part),
                   'comparisons': comparison_table(analysis, part),
                   'runs': run_table(analysis, part), 'plans': _plans(part),
                   'evidence': _evidence(study, part), 'checks': _checks(study, part)}
                  for index, part in enumerate(parts)])


def figures(analysis: Analysis) -> dict[str, Any]:
    """The plots by kind and section, such as ``steps0``; ``models`` for several subjects."""
    found = {'models': models(analysis, 'models')}
    for index, part in enumerate(sections(analysis)):
        for kind, draw in (('steps', steps), ('curves', curves), ('cost', cost)):
            found[f'{kind}{index}'] = draw(analysis, part, f'{kind}{index}')
    return {name: plot for name, plot in found.items() if plot is not None}


def minus(text: str) -> str:
    """A text with real minus signs before numbers."""
    return re.sub(r'(?<![\w.-])-(?=[\d.])', '−', text)


def soft(text: str) -> Markup:
    """A name that may break after its underscores, and not after a leading sign or at ``of``."""
    kept = re.sub(r'^([+−-]) ', '\\1\u00a0', text)
    kept = re.sub(r'^([\d.]+) of the time', '\\1\u00a0of\u00a0the\u00a0time', kept)
    return Markup(str(escape(kept)).replace('_', '_<wbr>'))


def _plans(part: Section) -> list[dict[str, Any]]:
    """Each rung's plan: what it says of every trick, and the lines of its diff."""
    found = []
    for label, _, result in part.rungs:
        rung = result.rung
        if rung.plan or rung.diff:
            counts = Counter(str(row.get('status', '')).replace('_', ' ') for row in rung.plan)
            found.append({
                'label': label, 'rows': rung.plan, 'lines': _diff(rung),
                'counts': ', '.join(f'{count} {status}' for status, count in counts.items())})
    return found


def _diff(rung: Rung) -> list[tuple[str, str]]:
    """The lines of the diff with their kinds."""
    kinds = (('---', 'file'), ('+++', 'file'), ('@@', 'hunk'), ('+', 'add'), ('-', 'del'))
    return [(next((kind for start, kind in kinds if line.startswith(start)), 'same'), line)
            for line in rung.diff.splitlines()]


def _evidence(study: Study, part: Section) -> dict[str, Any]:
    """Rungs against tricks: in how many runs each trick was live, dead, or unknown."""
    tricks = list(dict.fromkeys(
        name for _, one, result in part.rungs
        for name in (*_planned(result), *(check.trick for run in study.runs_of(
            one.subject.name, result.rung.name).values() for check in run.checks))))
    rows = []
    for label, one, result in part.rungs:
        runs = study.runs_of(one.subject.name, result.rung.name)
        rows.append((label, [_cell([check.live for run in runs.values() for check in run.checks
                                    if check.trick == trick],
                                   trick in _planned(result)) for trick in tricks]))
    return {'tricks': tricks, 'rows': rows}


def _planned(result: RungResult) -> list[str]:
    return [str(row.get('name')) for row in result.rung.plan
            if row.get('status') in ('applied', 'present')]


def _cell(lives: list[bool | None], planned: bool) -> _Cell:
    if not lives:
        return _Cell('not measured', 'unknown') if planned else _Cell('', 'off')
    counts = Counter(_WORDS[live] for live in lives)
    text = ', '.join(f'{counts[word]} {word}' for word in _WORDS.values() if counts[word])
    return _Cell(text, next(word for word in ('dead', 'unknown', 'live') if counts[word]))


def _checks(study: Study, part: Section) -> list[tuple[str, int, str, str, str]]:
    """Every finding of every run: rung, seed, trick, state, and the words."""
    return [(label, seed, check.trick, _WORDS[check.live], check.text)
            for label, one, result in part.rungs
            for seed, run in sorted(study.runs_of(one.subject.name, result.rung.name).items())
            for check in run.checks]


def pictures(plot: Any) -> list[tuple[str, Markup]]:
    """The SVG of a plot by the class that shows it; its texts are escaped by matplotlib."""
    return [(kind, Markup(text)) for kind, text in plot.svg()]
