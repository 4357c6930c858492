"""Cost against gain, and the model chart: accuracy against throughput and training time."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..analysis import Analysis, RungResult
from ..statistics import Comparison
from .canvas import COLOURS, NARROW, WIDE, Canvas, Plot, style
from .labels import Place
from .steps import VERDICT_COLOURS, VERDICT_MARKERS
from .tables import Section
from .words import Numbers, ends

__all__ = ['cost', 'models']

# Labels beside their points with room to the right, with room on both sides, or in a column.
Layout = Literal['right', 'both', 'column']
MOST = {'right': 3.0, 'both': math.inf}  # of a line's 25 points that a label may cover


def _first(draw: Callable[[Layout], Canvas | None]) -> Canvas:
    """The first layout in which all labels find room; a column has room for all."""
    layouts: tuple[Layout, ...] = ('right', 'both', 'column')
    return next(canvas for canvas in map(draw, layouts) if canvas is not None)


def cost(analysis: Analysis, section: Section, name: str) -> Plot | None:
    """Each rung's training time against its gain over the first; None without both.

    Args:
        analysis: What came of the study.
        section: Its part.
        name: For ids.
    """
    rungs = [(label, rung) for label, _, rung in section.rungs
             if rung.to_first is not None and rung.to_first.mean is not None
             and rung.time.ratio is not None]
    if not rungs:
        return None
    better = 'higher' if analysis.study.greater else 'lower'
    return Plot(
        name, f'Training time against the difference in {analysis.study.metric}',
        'Each rung against the first, which is the cross; upright lines are 95 % t intervals of '
        f'the paired difference, cut off at the edge; {better} and further left is better.',
        *(_first(functools.partial(_cost, analysis, rungs, wide))
          for wide in (True, False)))


def _cost(analysis: Analysis, rungs: Sequence[tuple[str, RungResult]], wide: bool,
          layout: Layout) -> Canvas | None:
    """The picture; None if its labels find no room."""
    numbers = Numbers(analysis)
    across = WIDE if wide else NARROW
    height = max(330.0 if wide else 280.0, 18.0 * len(rungs) + 20)
    column = layout == 'column'
    room = (240 if wide else 140) if column else 0
    left, top = 56, 30
    with style():
        canvas = Canvas(across, top + height + 48)
        ax = canvas.axes(left, top, across - left - room - 8, height)
        found = [(label, rung.time.ratio or 1.0, rung.to_first) for label, rung in rungs]
        _limits(ax, [(x, one) for _, x, one in found if one])
        if not column:
            canvas.widen(ax, [label for label, _ in rungs], across - left - 8, layout == 'both')
        ax.grid(color=COLOURS['line'], lw=0.8)
        ax.axhline(0, color=COLOURS['muted'], lw=1)
        canvas.ticks(ax.xaxis, across - left - room, 70)
        canvas.ticks(ax.yaxis, height, 44)
        ax.plot([1], [0], '+', ms=13, mew=2.2, color=COLOURS['ink'])
        points = [(1.0, 0.0, 'the first', 'ink')]
        lines = [((ax.get_xlim()[0], 0.0), (ax.get_xlim()[1], 0.0))]
        for label, x, one in found:
            if one is None or one.mean is None:
                continue
            colour = VERDICT_COLOURS.get(one.verdict, 'unsure')
            if one.t_interval:
                ax.plot([x, x], one.t_interval, lw=1.2, color=COLOURS[colour], alpha=0.75)
                lines.append(((x, one.t_interval[0]), (x, one.t_interval[1])))
            full = one.verdict in VERDICT_MARKERS
            ax.plot([x], [one.mean], VERDICT_MARKERS.get(one.verdict, 'o'), ms=8, mew=1.6,
                    mec=COLOURS[colour], mfc=COLOURS[colour] if full else 'none')
            points.append((x, one.mean, label, colour))
        if column:
            canvas.side_labels(ax, points, across - room, room)
        elif not canvas.labels(ax, points, lines, (), MOST[layout]):
            return None
        canvas.text(0, 10, f'difference to the first, {numbers.difference_unit}', across,
                    'muted', 11)
        canvas.text(left, canvas.height - 12, 'training time, × the first', across - left,
                    'muted', 11)
    return canvas


def _limits(ax: Axes, found: Sequence[tuple[float, Comparison]]) -> None:
    """All means, and intervals as far as they leave the means apart."""
    ax.set_xlim(*_padded([1.0, *(x for x, _ in found)], 0.02))
    bounds = [end for _, one in found for end in one.t_interval or ()]
    low, high = _padded([0.0, *(one.mean or 0.0 for _, one in found)], 0.01)
    room = high - low
    ax.set_ylim(max(min([low, *bounds]), low - room), min(max([high, *bounds]), high + room))


def _padded(values: Sequence[float], least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = max(0.12 * (high - low), least)
    return low - pad, high + pad


@dataclasses.dataclass(frozen=True)
class _Model:
    """One arrow: a subject's first rung and its last, and where they lie."""

    label: str
    before: RungResult
    after: RungResult
    speed: float | None
    times: tuple[float | None, float | None]


def models(analysis: Analysis, name: str) -> Plot | None:
    """The model chart of a study of several subjects; None for other studies.

    Args:
        analysis: What came of the study.
        name: For ids.
    """
    if not analysis.study.pairs:
        return None
    found = [_Model(one.subject.label, one.rungs[0], one.rungs[-1], one.subject.images_per_s,
                    (one.rungs[0].time.median, one.rungs[-1].time.median))
             for one in analysis.subjects if all(map(_drawn, one.rungs))]
    if not any(_panels(found, factor=1.0)):
        return None
    without = [one.subject.label for one in analysis.subjects if not all(map(_drawn, one.rungs))]
    missing = [one.label for one in found if one.speed is None]
    said = f' No result, and no arrow, for {", ".join(without)}.' if without else ''
    said += f' Throughput was not measured for {", ".join(missing)}.' if missing else ''
    before, after = ends(analysis.study)
    return Plot(
        name, f'Models: {analysis.study.metric} against inference throughput and training time',
        f'An arrow leads from each model {before} (hollow) to the same {after} '
        '(full); bars are 95 % t intervals of the mean over seeds, not '
        f'paired.{said}',
        *(_first(functools.partial(_models, analysis, found, wide))
          for wide in (True, False)))


def _drawn(rung: RungResult) -> bool:
    """Whether a rung has a result; with a trick that was not live in some run it has none."""
    return rung.mean is not None and not rung.dead


def _panels(found: Sequence[_Model], factor: float) -> list[list[tuple[_Model, float, float]]]:
    """The arrows of the two panels, with where they begin and end."""
    speed = [(one, one.speed, one.speed) for one in found if one.speed]
    time = [(one, one.times[0] / factor, one.times[1] / factor) for one in found
            if one.times[0] and one.times[1]]
    return [speed, time]


def _models(analysis: Analysis, found: Sequence[_Model], wide: bool,
            layout: Layout) -> Canvas | None:
    """The picture; None if its labels find no room."""
    numbers = Numbers(analysis)
    titles = ('inference throughput, images/s', f'training time, {numbers.time_unit}')
    parts = [(title, part) for title, part in
             zip(titles, _panels(found, numbers.time_factor), strict=True) if part]
    height = max(330.0 if wide else 280.0, 18.0 * len(found) + 20)
    column = layout == 'column'
    top, foot, room = 30, 48, 136 if column else 0
    down = top + height + foot
    across = WIDE / 2 if wide else NARROW
    with style():
        canvas = Canvas(WIDE if wide else NARROW, down if wide else down * len(parts))
        for index, (title, part) in enumerate(parts):
            x, y = (index * across, 0) if wide else (0, index * down)
            width = across - 56 - room - 16
            ax = canvas.axes(x + 56, y + top, width, height)
            lines = _arrows(canvas, ax, part, width, height, layout)
            points = [(end, one.after.mean or 0.0, one.label, 'ink') for one, _, end in part]
            if column:
                canvas.side_labels(ax, points, x + 56 + width + 8, room)
            elif not canvas.labels(ax, points, lines, [
                    (start, one.before.mean or 0.0) for one, start, _ in part], MOST[layout]):
                return None
            canvas.text(x, y + 10, f'{analysis.study.metric}, {analysis.study.unit}', across,
                        'muted', 11)
            canvas.text(x + 56, y + down - 12, title, across - 56, 'muted', 11)
    return canvas


def _arrows(canvas: Canvas, ax: Axes, part: Sequence[tuple[_Model, float, float]], width: float,
            height: float, layout: Layout) -> list[tuple[Place, Place]]:
    """The arrows of one panel with their intervals, and its axes; the ends of what was drawn."""
    xs = [value for _, *ends in part for value in ends]
    bounds = [end for one, *_ in part for rung in (one.before, one.after)
              for end in (rung.mean or 0.0, *(rung.interval or ()))]
    ax.set_ylim(*_padded(bounds, 0.02 * (abs(max(bounds)) or 1)))
    _scale(canvas, ax, xs, width, [one.label for one, *_ in part], layout)
    ax.grid(color=COLOURS['line'], lw=0.8)
    canvas.ticks(ax.yaxis, height, 44)
    lines: list[tuple[Place, Place]] = []
    for one, start, end in part:
        own = one.after.own
        colour = COLOURS[VERDICT_COLOURS.get(own.verdict if own else '', 'unsure')]
        for x, rung in ((start, one.before), (end, one.after)):
            if rung.interval:
                ax.plot([x, x], rung.interval, lw=1.3, alpha=0.55, color=colour)
                lines.append(((x, rung.interval[0]), (x, rung.interval[1])))
        lines += [((start, one.before.mean or 0.0), (end, one.after.mean or 0.0))] * 2
        ax.annotate('', (end, one.after.mean or 0.0), (start, one.before.mean or 0.0),
                    arrowprops=dict(arrowstyle='-|>', color=colour, lw=1.8, shrinkA=4, shrinkB=4))
        ax.plot([start], [one.before.mean or 0.0], 'o', ms=7, mew=1.6, mec=colour, mfc='none')
        ax.plot([end], [one.after.mean or 0.0], 'o', ms=7, mew=1.6, mec=colour, mfc=colour)
    return lines


def _scale(canvas: Canvas, ax: Axes, xs: Sequence[float], width: float,
           labels: Sequence[str], layout: Layout) -> None:
    """A plain axis, or a logarithmic one where the largest value is four times the smallest."""
    low, high = min(xs), max(xs)
    log = high >= 4 * low
    if log:
        ax.set_xscale('log')
        ax.set_xlim(low / (high / low) ** 0.08, high * (high / low) ** 0.08)
    else:
        ax.set_xlim(*_padded(xs, 0.02 * high))
    if layout != 'column':
        canvas.widen(ax, labels, width, layout == 'both')
    canvas.ticks(ax.xaxis, width, 50)
    if log:
        ends = ax.get_xlim()
        decades = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
        steps = (1, 2, 5) if len(decades) < 4 else (1,)
        marks = [step * 10.0 ** power for power in decades for step in steps]
        ax.xaxis.set_major_locator(FixedLocator([m for m in marks if ends[0] <= m <= ends[1]]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:,.6g}'.replace(
            ',', ' ')))
