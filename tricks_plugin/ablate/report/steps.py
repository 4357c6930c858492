"""Differences as rows with intervals: a waterfall for a stack, else a forest plot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..analysis import Analysis
from ..statistics import Comparison
from .canvas import COLOURS, NARROW, WIDE, Canvas, Plot, style
from .tables import Section, against
from .words import Numbers

__all__ = ['VERDICT_COLOURS', 'VERDICT_MARKERS', 'steps']

VERDICT_COLOURS = {'gains': 'gain', 'loses': 'loss'}
VERDICT_MARKERS = {'gains': 'o', 'loses': 's'}


@dataclasses.dataclass(frozen=True)
class _Line:
    """One row: where its difference starts on the axis (0 in a forest plot), and the difference."""

    label: str
    start: float | None
    found: Comparison | None
    total: bool = False

    @property
    def end(self) -> float | None:
        return None if self.start is None else \
            self.start + ((self.found.mean or 0.0) if self.found else 0.0)

    @property
    def interval(self) -> tuple[float, float] | None:
        if self.start is None or self.found is None or self.found.t_interval is None:
            return None
        low, high = self.found.t_interval
        return self.start + low, self.start + high

    @property
    def colour(self) -> str:
        return VERDICT_COLOURS.get(self.found.verdict, 'unsure') if self.found else 'base'


def steps(analysis: Analysis, section: Section, name: str) -> Plot | None:
    """The picture of a section's comparisons; None if there is no difference to draw.

    Args:
        analysis: What came of the study.
        section: Its part.
        name: For ids.
    """
    stack = analysis.study.mode == 'stack'
    lines = _waterfall(section) if stack else _forest(section)
    if not any(line.found and line.found.mean is not None for line in lines):
        return None
    study = analysis.study
    better = 'Right is better.' if study.greater else 'Left is better.'
    if stack:
        title = f'What each rung adds to {study.metric}'
        caption = ('Bars run from the mean of the rung before to that of the rung; thin lines '
                   'are the 95 % t interval of that paired step. ')
    else:
        title = f'Difference in {study.metric} against {against(analysis)}' \
            if study.mode != 'whole' else f'Difference in {study.metric} with the bag'
        caption = ('Marks are mean paired differences, thin lines their 95 % t interval, broad '
                   'ones the bootstrap interval. ')
    caption += (f'{better} Full circles gain, full squares lose, hollow marks are not shown with '
                'these seeds. A triangle at the edge: the line goes on.')
    return Plot(name, title, caption, _draw(analysis, lines, stack, True),
                _draw(analysis, lines, stack, False))


def _waterfall(section: Section) -> list[_Line]:
    """Rungs from the mean of the one before to their own, and all of them together."""
    rungs = [(label, rung) for label, _, rung in section.rungs]
    lines = []
    for label, rung in rungs:
        own = rung.own
        if own is None or own.mean is None or rung.mean is None:
            lines.append(_Line(label, rung.mean if own is None else None, own))
        else:
            lines.append(_Line(label, rung.mean - own.mean, own))
    _, last = rungs[-1]
    whole = last.to_first
    if len(rungs) > 2 and whole and whole.mean is not None and last.mean is not None:
        lines.append(_Line('all together', last.mean - whole.mean, whole, True))
    return lines


def _forest(section: Section) -> list[_Line]:
    several = len(section.subjects) > 1
    lines = []
    for label, one, rung in section.rungs:
        if rung.own is not None:
            name = one.subject.label if several and len(one.rungs) == 2 else label
            name += section.compared(rung, one)
            lines.append(_Line(name, 0.0 if rung.own.mean is not None else None, rung.own))
    return lines


def _limits(lines: Sequence[_Line], stack: bool) -> tuple[float, float]:
    """From the ends, with room for intervals up to once the span of the ends on each side."""
    ends = [value for line in lines for value in (line.start, line.end) if value is not None]
    bounds = ends + [value for line in lines if line.interval for value in line.interval]
    low, high = min(ends), max(ends)
    span = (high - low) or max((abs(b - low) for b in bounds), default=0) or abs(high) or 1.0
    room = 1.0 if stack else 2.0
    return (max(min(bounds), low - room * span) - 0.08 * span,
            min(max(bounds), high + room * span) + 0.08 * span)


def _draw(analysis: Analysis, lines: Sequence[_Line], stack: bool, wide: bool) -> Canvas:
    numbers = Numbers(analysis)
    row, top, foot = (34, 34, 58) if wide else (64, 6, 58)
    with style():
        canvas = Canvas(WIDE if wide else NARROW, top + row * len(lines) + foot)
        left, width = (200, 380) if wide else (8, NARROW - 16)
        ax = canvas.axes(left, top, width, row * len(lines))
        ax.set_ylim(len(lines), 0)
        ax.set_yticks([])
        ax.set_xlim(*_limits(lines, stack))
        ax.grid(axis='x', color=COLOURS['line'], lw=0.8)
        canvas.ticks(ax.xaxis, width, 62 if wide else 66)
        if not stack:
            ax.axvline(0, color=COLOURS['muted'], lw=1.2)
        unit = numbers.unit if stack else numbers.difference_unit
        what = analysis.study.metric if stack else 'difference'
        canvas.text(left + width / 2, canvas.height - 14, f'{what}, {unit}', width, 'muted', 11,
                    'center')
        for index, line in enumerate(lines):
            _bar(ax, line, index + (0.5 if wide else 0.74), stack)
            _texts(canvas, line, top + row * index, row, numbers, wide)
        _connect(ax, lines, 0.5 if wide else 0.74, stack)
        if wide:
            canvas.text(600, 14, f'difference, {numbers.difference_unit} (95 % interval)', 220,
                        'muted', 11)
            canvas.text(824, 14, 'verdict', 96, 'muted', 11)
    return canvas


def _texts(canvas: Canvas, line: _Line, top: float, row: float, numbers: Numbers,
           wide: bool) -> None:
    """The row's label, numbers and verdict."""
    found, weight = line.found, 'bold' if line.total else 'normal'
    if found is None:
        figures, verdict = f'{numbers.value(line.start)} {numbers.unit}', 'the first'
    else:
        figures, verdict = numbers.signed(found.mean), found.verdict
        if found.t_interval is not None:
            figures += f'  ({numbers.interval(found.t_interval)})'
        if found.verdict in ('gains', 'loses') and not found.holds:
            verdict += ' *'
    figures = figures.replace('-', '−')
    colour = line.colour if line.colour != 'base' else 'muted'
    if wide:
        middle = top + row / 2
        canvas.text(0, middle, line.label, 190, 'ink', 12, weight=weight)
        canvas.text(600, middle, figures, 216, 'ink', 12, weight=weight)
        canvas.text(824, middle, verdict, 96, colour, 12, weight='bold')
    else:
        canvas.text(8, top + 13, line.label, NARROW - 16, 'ink', 12, weight='bold')
        canvas.text(8, top + 30, verdict, 82, colour, 11, weight='bold')
        canvas.text(NARROW - 8, top + 30, figures, 240, 'ink', 11, align='right')


def _bar(ax: Axes, line: _Line, y: float, stack: bool) -> None:
    """The difference and its intervals, around the height ``y``."""
    if line.start is None or line.end is None:
        return
    colour = COLOURS[line.colour]
    solid = line.found is not None and line.found.verdict in VERDICT_MARKERS
    if stack and line.found is not None:
        ax.plot([line.start, line.end], [y, y], lw=11, color=colour,
                alpha=0.55 if solid else 0.3, solid_capstyle='butt')
    elif line.found is not None and line.found.bootstrap_interval:
        ax.plot(line.found.bootstrap_interval, [y, y], lw=7, color=colour, alpha=0.3,
                solid_capstyle='butt')
    if line.interval:
        low, high = ax.get_xlim()
        left, right = np.clip(line.interval, low, high)
        ax.plot([left, right], [y, y], lw=1.4, color=colour, clip_on=False)
        for end, edge, mark in ((left, low, '<'), (right, high, '>')):
            ax.plot([end], [y], mark if end == edge else '|', ms=7 if end == edge else 9, mew=1.4,
                    color=colour, clip_on=False)
    marker = VERDICT_MARKERS.get(line.found.verdict, 'o') if line.found else 'D'
    # A hollow mark lets the bar through; its edge says where the mean lies.
    ax.plot([line.end], [y], marker, ms=7, mew=1.6, mec=colour,
            mfc=colour if solid or line.found is None else 'none', clip_on=False)


def _connect(ax: Axes, lines: Sequence[_Line], middle: float, stack: bool) -> None:
    """Thin lines from a bar's end down to where the next begins."""
    if not stack:
        return
    drawn = [(index, line.start, line.end) for index, line in enumerate(lines)
             if line.start is not None and line.end is not None and not line.total]
    for (above, _, end), (below, start, _) in zip(drawn, drawn[1:], strict=False):
        ax.plot([end, start], [above + middle, below + middle],
                color=COLOURS['base'], lw=0.8, ls=(0, (3, 2)), zorder=1)
