"""The report as one HTML file that loads nothing."""

from __future__ import annotations

from ..analysis import Analysis
from .render import render
from .tables import comparison_table, result_table, run_table, sections
from .words import chance, headline, method, standing, warnings

__all__ = ['html']


def html(analysis: Analysis) -> str:
    """The whole report.

    Args:
        analysis: What came of the study.
    """
    study = analysis.study
    return render(
        'report.html.j2', study=study, notes=list(study.notes), standing=standing(study),
        headline=headline(analysis), chance=chance(analysis), warnings=warnings(analysis),
        method=method(study),
        sections=[(section.title, result_table(analysis, section),
                   comparison_table(analysis, section), run_table(analysis, section))
                  for section in sections(analysis)])
