"""The table of an ablation for the terminal."""

from __future__ import annotations

from typing import Any

from ..analysis import Analysis
from ..statistics import Comparison
from .tables import Section, against, sections
from .words import Numbers, chance, headline, standing, warnings

__all__ = ['terminal']

_STYLES = {'gains': 'green', 'loses': 'red', 'no result': 'yellow'}


def terminal(analysis: Analysis) -> Any:
    """One table a subject, with the sentences that belong under them, for rich.

    Args:
        analysis: What came of the study.
    """
    from rich.console import Group
    from rich.text import Text
    sentences = [f'{standing(analysis.study)}.', *headline(analysis), chance(analysis),
                 *warnings(analysis)]
    return Group(*(_grid(analysis, section) for section in sections(analysis)),
                 *map(Text, sentences))


def _grid(analysis: Analysis, section: Section) -> Any:
    """The rungs of a section in few and narrow columns; the units stand above them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text
    study, numbers = analysis.study, Numbers(analysis)
    title = (f'{section.title}\n{study.metric}, {study.unit}; differences to '
             f'{against(analysis)}, {numbers.difference_unit}; training time, times the first')
    grid = Table(title=Text(title), title_justify='left', box=SIMPLE_HEAD, padding=(0, 0),
                 pad_edge=False)
    for name in ('rung', 'value', 'differs', '95 % interval', 'time', 'verdict', 'runs'):
        left = name in ('rung', 'verdict')
        grid.add_column(name, justify='left' if left else 'right', no_wrap=name != 'rung',
                        overflow='fold')
    for label, one, rung in section.rungs:
        own = rung.own or Comparison('', '', '')
        cells = (label + section.compared(rung, one), numbers.value(rung.mean),
                 numbers.signed(own.mean), numbers.interval(own.t_interval),
                 numbers.ratio(rung.time), own.verdict if rung.own else 'first',
                 f'{len(rung.values)} of {rung.planned}')
        grid.add_row(*map(Text, cells), style=_STYLES.get(own.verdict, '') if rung.own else '')
    return grid
