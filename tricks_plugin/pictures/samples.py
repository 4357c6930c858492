"""What a browse has to show: rows of pictures, their title, and a record of what is on them."""

from __future__ import annotations

import dataclasses
from typing import Any

from .sheet import Panel

__all__ = ['Pictures']


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The pictures of some samples.

    Attributes:
        title: One line.
        lines: Sentences below it.
        rows: The panels of each sample: before and after, or one alone.
        record: The same as numbers, for a JSON file.
        across: Samples beside each other in a sheet.
    """

    title: str
    lines: list[str]
    rows: list[list[Panel]]
    record: dict[str, Any]
    across: int = 2

    def sheet_rows(self) -> list[list[Panel]]:
        """The rows of a contact sheet, each of several samples."""
        return [[panel for row in self.rows[start:start + self.across] for panel in row]
                for start in range(0, len(self.rows), self.across)]
