"""The differences between two plain configs or settings, found by comparing."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

__all__ = ['Change', 'compare', 'same']

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
