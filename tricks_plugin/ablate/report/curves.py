"""Learning curves of all rungs, a panel each, in front of the first rung's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Analysis, RungResult, SubjectResult
from ..study import Point, Run, Study
from .canvas import COLOURS, NARROW, WIDE, Canvas, Plot, style
from .tables import Section
from .words import Numbers

__all__ = ['curves']


def curves(analysis: Analysis, section: Section, name: str) -> Plot | None:
    """The learning curves of a section; None before the first validation.

    Args:
        analysis: What came of the study.
        section: Its part.
        name: For ids.
    """
    panels = []
    for one in section.subjects:
        rungs = one.rungs[1:] or one.rungs
        panels += [(one.subject.label if len(section.subjects) > 1 else rung.rung.label, one, rung)
                   for rung in rungs]
    runs = [run for _, one, rung in panels
            for shown in (one.rungs[0], rung) for run in _runs(analysis.study, one, shown)]
    if not any(run.curve for run in runs):
        return None
    axis = _Axis(analysis, runs)
    cut = ' The steep beginning is cut off.' if axis.cut else ''
    return Plot(
        name, f'Learning curves: {analysis.study.metric} at every validation',
        'The rung in colour before the first rung in dashed grey; strong lines are means over '
        f'the seeds that count, light lines single seeds.{cut}',
        _draw(panels, axis, analysis.study, WIDE, 4), _draw(panels, axis, analysis.study, NARROW,
                                                            2))


def _runs(study: Study, one: SubjectResult, rung: RungResult) -> list[Run]:
    return list(study.runs_of(one.subject.name, rung.rung.name).values())


class _Axis:
    """What all panels share: what is counted, and the limits.

    Args:
        analysis: What came of the study.
        runs: All that are drawn.
    """

    def __init__(self, analysis: Analysis, runs: Sequence[Run]) -> None:
        numbers = Numbers(analysis)
        study = analysis.study
        points = [point for run in runs for point in run.curve]
        self.factor = study.factor
        self.y_label = f'{study.metric}, {study.unit}'
        self.key, self.x_label, self.divisor = 'seconds', f'training time, {numbers.time_unit}', \
            numbers.time_factor
        for key in ('epoch', 'iteration'):
            if all(getattr(point, key) is not None for point in points):
                self.key, self.x_label, self.divisor = key, f'{key}s trained', 1.0
                break
        last = max(self.x(point) for point in points)
        self.x_limits = (0.0, last * 1.03 or 1.0)
        values = [point.value * self.factor for point in points if math.isfinite(point.value)]
        late = [point.value * self.factor for point in points
                if self.x(point) > last / 3 and math.isfinite(point.value)] or values or [0.0]
        low, high = min(late), max(late)
        pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        self.y_limits = (low - pad, high + pad)
        self.cut = any(not self.y_limits[0] <= value <= self.y_limits[1] for value in values)

    def x(self, point: Point) -> float:
        """Where a point lies."""
        return float(getattr(point, self.key)) / self.divisor


def _draw(panels: Sequence[tuple[str, SubjectResult, RungResult]], axis: _Axis, study: Study,
          width: float, columns: int) -> Canvas:
    rows = math.ceil(len(panels) / columns)
    columns = math.ceil(len(panels) / rows)
    left, gap, top, title, foot = 56.0, 22.0, 26.0, 24.0, 44.0
    across = min((width - left - gap * columns) / columns, 420.0)
    down = 0.68 * across if columns > 1 else min(0.5 * across, 240)
    with style():
        canvas = Canvas(width, top + rows * (down + title + 14) + foot)
        canvas.text(0, 10, axis.y_label, width, 'muted', 11)
        for index, (label, one, rung) in enumerate(panels):
            row, column = divmod(index, columns)
            x = left + column * (across + gap)
            y = top + title + row * (down + title + 14)
            ax = canvas.axes(x, y, across, down)
            ax.set_xlim(*axis.x_limits)
            ax.set_ylim(*axis.y_limits)
            ax.grid(axis='y', color=COLOURS['line'], lw=0.8)
            canvas.ticks(ax.yaxis, down, 28)
            canvas.ticks(ax.xaxis, across, 56, axis.key != 'seconds')
            if column:
                ax.set_yticklabels([])
            if index + columns < len(panels):
                ax.set_xticklabels([])
            canvas.text(x, y - 12, label, across, 'ink', 12, weight='bold')
            if rung is not one.rungs[0]:
                _lines(ax, axis, _runs(study, one, one.rungs[0]), 'base', (0, (4, 2)))
            _lines(ax, axis, _runs(study, one, rung), 'accent', '-')
        canvas.text(left, canvas.height - 12, axis.x_label, width - left, 'muted', 11)
    return canvas


def _lines(ax: Axes, axis: _Axis, runs: Iterable[Run], colour: str, dash: object) -> None:
    """Every seed lightly, and the mean where all seeds that count have a point."""
    counting = []
    for run in runs:
        if not run.curve:
            continue
        points = {axis.x(point): point.value * axis.factor for point in run.curve}
        ax.plot(list(points), list(points.values()), color=COLOURS[colour], lw=0.9, alpha=0.35,
                marker='.' if len(points) == 1 else None)
        if run.counts:
            counting.append(points)
    if not counting:
        return
    xs = sorted(x for x in counting[0] if all(x in points for points in counting))
    means = [np.mean([points[x] for points in counting]) for x in xs]
    ax.plot(xs, means, color=COLOURS[colour], lw=2.0, ls=dash, marker='o' if len(xs) == 1 else None,
            ms=5)
