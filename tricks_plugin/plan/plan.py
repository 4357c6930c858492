"""The Plan: what each trick did to a config or to a trainer's settings."""

from __future__ import annotations

import dataclasses
import difflib
import io
import pprint
from typing import Any

from .changes import Change
from .run_facts import RunFacts
from .verdict import Status

__all__ = ['Plan', 'TrickPlan']


@dataclasses.dataclass(frozen=True)
class TrickPlan:
    """One row of the plan.

    Attributes:
        name: The trick.
        status: See `tricks_plugin.plan.Verdict`.
        reason: One sentence; may be empty for ``applied``.
        changes: What the trick changed in the config.
        promise: The settings of the trick's measurement in the run; None if it is not measured.
    """

    name: str
    status: Status
    reason: str
    changes: tuple[Change, ...] = ()
    promise: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As ``tricks plan --json`` prints it."""
        return {
            'name': self.name, 'status': self.status, 'reason': self.reason,
            'changes': [change.to_dict() for change in self.changes],
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """What came of every trick that was asked for, in the order of application.

    Attributes:
        config: The config's file name, or empty.
        tricks: One row per trick.
        before: The whole config before, plain.
        after: The whole config after, plain.
        run: What is known of the run.
        recipes: One row per recipe that sets more than its tricks; shown before theirs.
    """

    config: str
    tricks: tuple[TrickPlan, ...]
    before: dict[str, Any] = dataclasses.field(repr=False, default_factory=dict)
    after: dict[str, Any] = dataclasses.field(repr=False, default_factory=dict)
    run: RunFacts = RunFacts()
    recipes: tuple[TrickPlan, ...] = ()

    def __getitem__(self, name: str) -> TrickPlan:
        """The row of a trick; raises KeyError if it was not asked for."""
        for row in (*self.recipes, *self.tricks):
            if row.name == name:
                return row
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """As ``tricks plan --json`` prints it."""
        return {'config': self.config, 'run': self.run.to_dict(),
                'tricks': [row.to_dict() for row in (*self.recipes, *self.tricks)]}

    def table(self, width: int = 120) -> str:
        """The plan as a text table: a row per trick, its changes below one another."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
        run = self.run.words()
        table = Table(title=f'tricks for {self.config or "this config"}', title_justify='left',
                      show_lines=True, caption=f'the run: {run}' if run else None,
                      caption_justify='left')
        table.add_column('trick', no_wrap=True)
        table.add_column('status', no_wrap=True)
        table.add_column('reason and changes (path: before -> after)', ratio=1)
        for row in (*self.recipes, *self.tricks):
            lines = [row.reason] if row.reason else []
            lines += [f'{c.path}: {_short(c.before)} -> {_short(c.after)}' for c in row.changes]
            table.add_row(row.name, row.status, Text('\n'.join(lines)))
        stream = io.StringIO()
        Console(file=stream, width=width, color_system=None).print(table)
        return stream.getvalue().rstrip()

    def diff(self) -> str:
        """The whole edit as a unified diff of the two configs' texts."""
        before, after = (
            f'{pprint.pformat(cfg, sort_dicts=False, width=96)}\n'.splitlines(keepends=True)
            for cfg in (self.before, self.after)
        )
        return ''.join(difflib.unified_diff(before, after, 'before', 'after', n=2))


def _short(value: Any, limit: int = 160) -> str:
    text = ' '.join(pprint.pformat(value, sort_dicts=False, compact=True, width=10**6).split())
    return text if len(text) <= limit else f'{text[:limit - 3]}...'
