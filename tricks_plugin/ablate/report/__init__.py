"""The reports of an ablation: Markdown, JSON, CSV, one HTML file, and a table for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..needs import require
from ..study import Study

__all__ = ['terminal_table', 'write_reports']


def write_reports(study: Study, out: Path) -> list[Path]:
    """Writes ``ablation.md``, ``ablation.json``, ``ablation.csv`` and ``report.html``.

    Each file is written whole or not at all, so that this may be called at any moment while
    runs go on, and a killed process leaves the former report.

    Args:
        study: As it stands.
        out: The folder; made if it is not there.

    Returns:
        The files.

    Raises:
        TrickError: If a library that the report needs is not installed.
    """
    require()
    from ...common.files import json_safe, write_json, write_text
    from ..analysis import analyse
    from .html import html
    from .markdown import markdown
    from .tables import csv_text, numbers_dict
    from .words import chance, headline, standing, warnings
    analysis = analyse(study)
    out = Path(out)
    paths = [out / name for name in
             ('ablation.md', 'ablation.json', 'ablation.csv', 'report.html')]
    write_text(paths[0], markdown(analysis))
    write_json(paths[1], json_safe({
        'headline': headline(analysis), 'standing': standing(study), 'chance': chance(analysis),
        'warnings': warnings(analysis), 'rungs': numbers_dict(analysis),
        'study': study.to_dict()}))
    write_text(paths[2], csv_text(analysis))
    write_text(paths[3], html(analysis))
    return paths


def terminal_table(study: Study) -> Any:
    """The table so far, for rich.

    Args:
        study: As it stands.

    Returns:
        A renderable: one table a subject, and the sentences that belong under it.

    Raises:
        TrickError: If a library that the report needs is not installed.
    """
    require()
    from ..analysis import analyse
    from .terminal import terminal
    return terminal(analyse(study))
