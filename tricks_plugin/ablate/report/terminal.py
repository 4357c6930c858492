"""The table of an ablation for the terminal."""

from __future__ import annotations

from typing import Any

from ..analysis import Analysis
from .tables import sections, short_table
from .words import chance, headline, standing, warnings

__all__ = ['terminal']

_STYLES = {'gains': 'green', 'loses': 'red', 'no result': 'yellow'}


def terminal(analysis: Analysis) -> Any:
    """One table a subject, with the sentences that belong under them, for rich.

    Args:
        analysis: What came of the study.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text
    parts: list[Any] = []
    for section in sections(analysis):
        content = short_table(analysis, section)
        grid = Table(title=Text(section.title), title_justify='left')
        for column in content.columns:
            grid.add_column(Text(column.header), justify='right' if column.number else 'left')
        for row in content.rows:
            grid.add_row(*map(Text, row.cells), style=_STYLES.get(row.mark, ''))
        parts.append(grid)
    sentences = [f'{standing(analysis.study)}.', *headline(analysis), chance(analysis),
                 *warnings(analysis)]
    return Group(*parts, *map(Text, sentences))
