"""The Plan: what each trick did to a config, computed by comparing configs."""

from __future__ import annotations

import dataclasses
import difflib
import io
import pprint
from typing import Any

__all__ = ['Change', 'Plan', 'TrickPlan', 'compare']

ABSENT = '(absent)'


class _Absent:
    """Marks a value that is not there, as None is a value."""

    def __repr__(self) -> str:
        return ABSENT


_ABSENT = _Absent()


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference between two configs.

    Attributes:
        path: Where, such as ``train_dataloader.dataset.pipeline[5]``. An index counts in the
            config after the change; for a removed item, in the config before.
        before: The value before; absent for an addition.
        after: The value after; absent for a removal.
    """

    path: str
    before: Any
    after: Any

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; an absent value is null."""
        return {'path': self.path, 'before': _jsonable(self.before), 'after': _jsonable(self.after)}


@dataclasses.dataclass(frozen=True)
class TrickPlan:
    """One row of the plan.

    Attributes:
        name: The trick.
        status: ``applied``, ``present`` or ``not_applicable``.
        reason: One sentence; may be empty for ``applied``.
        changes: What the trick changed in the config.
        evidence: The settings of the trick's measurement in the run.
    """

    name: str
    status: str
    reason: str
    changes: tuple[Change, ...] = ()
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As ``tools/plan.py --json`` prints it."""
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
        recipes: One row per recipe that sets more than its tricks; shown before theirs.
    """

    config: str
    tricks: tuple[TrickPlan, ...]
    before: dict[str, Any] = dataclasses.field(repr=False, default_factory=dict)
    after: dict[str, Any] = dataclasses.field(repr=False, default_factory=dict)
    recipes: tuple[TrickPlan, ...] = ()

    def __getitem__(self, name: str) -> TrickPlan:
        """The row of a trick; raises KeyError if it was not asked for."""
        for row in (*self.recipes, *self.tricks):
            if row.name == name:
                return row
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """As ``tools/plan.py --json`` prints it."""
        return {'config': self.config, 'tricks': [
            row.to_dict() for row in (*self.recipes, *self.tricks)]}

    def table(self, width: int = 120) -> str:
        """The plan as a text table: a row per trick, its changes below one another."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
        table = Table(title=f'tricks for {self.config or "this config"}', title_justify='left',
                      show_lines=True)
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


def _jsonable(value: Any) -> Any:
    """A value as JSON can hold it: tuples as lists, unknown objects as their repr."""
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if value is _ABSENT:
        return None
    if isinstance(value, float) and value != value or value in (float('inf'), float('-inf')):
        return repr(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def same(before: Any, after: Any) -> bool:
    """Whether two plain values are equal in value and type; NaN equals NaN."""
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(same(before[k], after[k]) for k in before)
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(same, before, after))
    try:
        return bool(before == after) or (before != before and after != after)
    except Exception:  # arrays and other objects compare in their own way
        return before is after


def compare(before: Any, after: Any, path: str = '') -> list[Change]:
    """The differences between two plain configs, in the order of the config.

    Lists are aligned, so that an inserted transform is one change and not a shift of all that
    follow.

    Args:
        before: A plain config, or a part of one.
        after: The same part after the edit.
        path: Where the part stands.
    """
    if same(before, after):
        return []
    if isinstance(before, dict) and isinstance(after, dict) and not _replaced(before, after):
        changes = []
        for key in [*before, *(key for key in after if key not in before)]:
            where = f'{path}.{key}' if path else str(key)
            if key not in after:
                changes.append(Change(where, before[key], _ABSENT))
            elif key not in before:
                changes.append(Change(where, _ABSENT, after[key]))
            else:
                changes += compare(before[key], after[key], where)
        return changes
    if isinstance(before, list) and isinstance(after, list):
        return _compare_lists(before, after, path)
    return [Change(path, before, after)]


def _replaced(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a component was exchanged for another with nothing but its type in common."""
    if before.get('type') == after.get('type'):
        return False
    shared = (before.keys() & after.keys()) - {'type'}
    return not any(same(before[key], after[key]) for key in shared)


def _compare_lists(before: list[Any], after: list[Any], path: str) -> list[Change]:
    # Items are matched by their text, as dicts cannot be hashed.
    old, new = ([repr(item) for item in items] for items in (before, after))
    changes = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == 'equal':
            continue
        pairs = _pair_up(before[i1:i2], after[j1:j2])
        for i, j in pairs:
            if i is not None and j is not None:
                changes += compare(before[i1 + i], after[j1 + j], f'{path}[{j1 + j}]')
            elif j is not None:
                changes.append(Change(f'{path}[{j1 + j}]', _ABSENT, after[j1 + j]))
            elif i is not None:
                changes.append(Change(f'{path}[{i1 + i}]', before[i1 + i], _ABSENT))
    return changes


def _pair_up(before: list[Any], after: list[Any]) -> list[tuple[int | None, int | None]]:
    """Pairs the items of two short lists that are versions of each other, by likeness of text."""
    left, right = ([_without_scope(item) for item in items] for items in (before, after))

    def likeness(i: int, j: int) -> float:
        return difflib.SequenceMatcher(None, left[i], right[j]).ratio()

    pairs: list[tuple[int | None, int | None]] = []
    start = 0
    for j in range(len(after)):
        best = max(range(start, len(before)), key=lambda i: likeness(i, j), default=None)
        if best is None or likeness(best, j) < 0.6:
            pairs.append((None, j))
            continue
        pairs += [(i, None) for i in range(start, best)]
        pairs.append((best, j))
        start = best + 1
    return pairs + [(i, None) for i in range(start, len(before))]


def _without_scope(item: Any) -> str:
    """An item's text, with its class name short: a module's path says nothing about likeness."""
    if isinstance(item, dict) and isinstance(item.get('type'), str):
        item = {**item, 'type': item['type'].rsplit('.', 1)[-1]}
    return repr(item)
