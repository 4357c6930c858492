"""The report of what tricks really do in a running training: table and JSON file.

Both trainers share it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ..common.files import json_safe, write_json
from .base import Finding

__all__ = ['rows', 'table', 'write']

_LIVE = {True: 'yes', False: 'NO', None: 'too early'}


def rows(findings: dict[str, Finding]) -> list[dict[str, Any]]:
    """The findings as tricks_evidence.json holds them.

    Args:
        findings: By trick.
    """
    return [{'name': name, 'planned': finding.planned, 'live': finding.live,
             'measured': finding.measured, 'values': finding.values,
             **({'error': finding.error} if finding.error else {})}
            for name, finding in findings.items()]


def table(findings: dict[str, Finding]) -> str:
    """The findings as a text table, "planned | live | measured".

    Args:
        findings: By trick.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    grid = Table()
    for column in ('trick', 'planned', 'live', 'measured'):
        grid.add_column(column, no_wrap=column in ('trick', 'live'))
    for name, finding in findings.items():
        live = 'unknown' if finding.error else _LIVE[finding.live]
        grid.add_row(name, Text(finding.planned), live, Text(finding.measured))
    stream = io.StringIO()
    Console(file=stream, width=120, color_system=None).print(grid)
    return stream.getvalue().rstrip()


def write(path: Path, history: list[dict[str, Any]]) -> None:
    """Writes the latest report and the earlier ones, whole or not at all; NaN becomes null.

    Args:
        path: The file; an existing one is replaced.
        history: Reports, the latest last.
    """
    write_json(path, json_safe({**history[-1], 'history': history[:-1]}))
