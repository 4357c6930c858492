"""The report as Markdown, for a README or a pull request."""

from __future__ import annotations

from ..analysis import Analysis
from .render import render
from .tables import Table, comparison_table, result_table, run_table, sections
from .words import chance, headline, method, standing, warnings

__all__ = ['markdown']


def markdown(analysis: Analysis) -> str:
    """The whole report; pictures are in the HTML one.

    Args:
        analysis: What came of the study.
    """
    return render(
        'ablation.md.j2', study=analysis.study, standing=standing(analysis.study),
        headline=headline(analysis), chance=chance(analysis), warnings=warnings(analysis),
        method=method(analysis.study),
        notes=list(analysis.study.notes),
        sections=[(section.title, pipes(result_table(analysis, section)),
                   pipes(comparison_table(analysis, section)),
                   pipes(run_table(analysis, section))) for section in sections(analysis)])


def pipes(table: Table) -> str:
    """A table with pipes, numbers to the right."""
    lines = [[column.header for column in table.columns],
             ['---:' if column.number else '---' for column in table.columns]]
    lines += [[_cell(cell) for cell in row.cells] for row in table.rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(text: str) -> str:
    return ' '.join(text.replace('|', '\\|').replace('<', '\\<').split())
