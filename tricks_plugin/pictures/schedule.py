"""Learning rates and momenta as a plot, a table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..common.rates import Rates
from ..plan.errors import TrickError

__all__ = ['SUFFIXES', 'as_csv', 'as_json', 'length', 'plot', 'render', 'table']

SUFFIXES = ('.png', '.svg', '.csv', '.json')
_COLORS = ('#1f6fb2', '#d1622b', '#3b8f5a', '#8a5aa8', '#b08a1e', '#5f6b76')
_SHORT_WARMUP = 1 / 10  # of the run: shorter ones are drawn once more, enlarged
_WORDS = {'first': 'first', 'warmup_end': 'end of warm-up, highest', 'middle': 'middle',
          'last': 'last'}


def render(found: Sequence[Rates], suffix: str, title: str, log: bool = False) -> bytes:
    """The curves as a file.

    Args:
        found: The curves.
        suffix: One of `SUFFIXES`.
        title: Of a plot.
        log: Whether a plot's LR axis is logarithmic.

    Raises:
        TrickError: If a plot is asked for and matplotlib is not installed.
    """
    if suffix == '.csv':
        return as_csv(found).encode()
    if suffix == '.json':
        return (json.dumps(as_json(found), indent=1) + '\n').encode()
    return plot(found, title, suffix.removeprefix('.'), log)


def as_csv(found: Sequence[Rates]) -> str:
    """One row for each curve, step and parameter group; steps and epochs count from 0."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator='\n')
    rows.writerow(['curve', 'unit', 'step', 'epoch', 'group', 'lr', 'momentum'])
    for one in found:
        for step in range(one.steps):
            epoch = '' if one.epoch is None else step // one.epoch.steps
            momentum = one.momentum[step]
            shown = '' if np.isnan(momentum) else repr(float(momentum))
            for group, lr in zip(one.groups, one.lr[step].tolist(), strict=True):
                rows.writerow([one.label, one.unit, step, epoch, group, repr(lr), shown])
    return stream.getvalue()


def as_json(found: Sequence[Rates]) -> dict[str, Any]:
    """The curves, their telling steps and what is not known of them."""
    return {'curves': [{
        'label': one.label, 'unit': one.unit, 'steps': one.steps,
        'epoch_length': None if one.epoch is None else one.epoch.steps,
        'epoch_length_from': None if one.epoch is None else one.epoch.origin,
        'marks': one.marks, 'joints': one.joints, 'notes': list(one.notes),
        'groups': [{'name': name, 'lr': one.lr[:, index].tolist()}
                   for index, name in enumerate(one.groups)],
        'momentum': None if np.isnan(one.momentum).any() else one.momentum.tolist(),
    } for one in found]}


def table(found: Sequence[Rates]) -> Any:
    """A rich table: the LR of each curve, and of each of its parameter groups, at telling steps."""
    from rich.table import Table
    shown = Table(title='learning rate (at which step, counted from 0)', title_justify='left')
    shown.add_column('', no_wrap=True)
    cells: dict[str, list[str]] = {words: [] for words in (*_WORDS.values(), 'momentum')}
    for one in found:
        for index, group in enumerate(one.groups):
            shown.add_column(group or one.label, overflow='fold')
            for mark, words in _WORDS.items():
                cells[words].append(f'{one.lr[one.marks[mark], index]:.4g} ({one.marks[mark]})'
                                    if mark in one.marks else 'the first')
            cells['momentum'].append('' if group else _momentum(one))
    for words, row in cells.items():
        shown.add_row(words, *row)
    return shown


def _momentum(one: Rates) -> str:
    if one.constant_momentum is not None:
        return f'{one.constant_momentum:g}'
    if np.isnan(one.momentum).any():
        return 'none'
    return f'{one.momentum.min():.4g} to {one.momentum.max():.4g}'


def length(one: Rates) -> str:
    """How long a run is, and how that is known, in a sentence."""
    words = f'{one.label}: {one.steps} {one.unit}s'
    if one.epoch is not None:
        words += f', {one.epoch.steps} an epoch ({one.epoch.origin})'
    return f'{words}.'


def plot(found: Sequence[Rates], title: str, kind: str, log: bool = False) -> bytes:
    """The curves over the run; short warm-ups once more, enlarged; momentum where it changes.

    Args:
        found: The curves.
        title: Of the plot.
        kind: ``png`` or ``svg``.
        log: Whether the LR axis is logarithmic.

    Raises:
        TrickError: If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise TrickError('a plot needs matplotlib: pip install matplotlib, or write .csv or .json'
                         ) from None
    total = max(one.steps for one in found)
    warm = max((one.warmup_end or 0) for one in found)
    zoom = 0 < warm < _SHORT_WARMUP * total
    moves = any(one.constant_momentum is None and not np.isnan(one.momentum).any()
                for one in found)
    style = {'font.family': 'DejaVu Sans', 'font.size': 9, 'svg.fonttype': 'none',
             'svg.hashsalt': 'tricks'}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **style}):
        figure = Figure((10.5 if zoom else 8, 5.6 if moves else 4.2), layout='constrained')
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(
            2 if moves else 1, 2 if zoom else 1, height_ratios=[2.4, 1] if moves else [1],
            width_ratios=[1, 2.6] if zoom else [1])
        for column in range(2 if zoom else 1):
            end = round(1.6 * warm) if zoom and column == 0 else total
            axes = figure.add_subplot(grid[0, column])
            _draw_rates(axes, found, end, named=end == total, log=log)
            axes.set_title('the warm-up, enlarged' if end != total else title, fontsize=9,
                           loc='left')
            last = axes
            if moves:
                axes.tick_params(labelbottom=False)
                last = figure.add_subplot(grid[1, column], sharex=axes)
                _draw_momenta(last, found, end)
            last.set_xlabel(_unit(found) if end == total else found[0].unit)
            if column == 0:
                axes.set_ylabel('learning rate')
        figure.legend(loc='outside upper left', fontsize=8.5, frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, dpi=110,
                       metadata={'Software': None} if kind == 'png' else {'Date': None})
    return stream.getvalue()


def _unit(found: Sequence[Rates]) -> str:
    lengths = {one.epoch for one in found}
    epoch = lengths.pop() if len(lengths) == 1 else None
    words = f'{found[0].unit}, counted from 0'
    return words if epoch is None else \
        f'{words} ({epoch.steps:,} an epoch, {epoch.origin.partition(":")[0]})'


def _draw_rates(axes: Any, found: Sequence[Rates], end: int, named: bool, log: bool) -> None:
    for number, one in enumerate(found):
        color, steps = _COLORS[number % len(_COLORS)], np.arange(min(end, one.steps))
        lr = one.lr[:len(steps)]
        for index in range(1, lr.shape[1]):
            axes.plot(steps, lr[:, index], color=color, linewidth=0.8, alpha=0.6,
                      drawstyle='steps-post')
        label = f'{one.label}: highest {one.lr[:, 0].max():.3g}, last {one.lr[-1, 0]:.2g}'
        axes.plot(steps, lr[:, 0], color=color, linewidth=_width(number),
                  drawstyle='steps-post' if named else 'default', label=label if named else None)
        marks = [mark for mark in (*one.joints, *(one.marks[name] for name in one.marks
                                                  if name != 'middle'))
                 if mark < len(steps) and not (log and lr[mark, 0] <= 0)]  # 0 has no logarithm
        axes.plot(marks, lr[marks, 0], 'o', color=color, markersize=4.5, clip_on=False)
    axes.set_xlim(0, end - 1 if end > 1 else 1)
    axes.xaxis.set_major_formatter('{x:,.0f}')
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=5 if not named else 7)
    axes.grid(alpha=0.25)
    if log:
        axes.set_yscale('log')
    else:
        axes.set_ylim(0, 1.08 * max(float(one.lr.max()) for one in found) or 1)


def _width(number: int) -> float:
    """A line's width: of equal curves the first shows below the next."""
    return max(1.0, 3.0 - 0.8 * number)


def _draw_momenta(axes: Any, found: Sequence[Rates], end: int) -> None:
    for number, one in enumerate(found):
        momentum = one.momentum[:end]
        axes.plot(np.arange(len(momentum)), momentum, color=_COLORS[number % len(_COLORS)],
                  linewidth=_width(number), drawstyle='steps-post')
    axes.set_ylabel('momentum')
    axes.grid(alpha=0.25)
