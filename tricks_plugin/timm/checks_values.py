"""Checks of timm's settings one by one, by the columns of their rows."""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Mapping
from typing import Any

from tricks_plugin.plan.errors import TrickError

from .flag_row import Flag

__all__ = ['check_values', 'idle_settings']

_KINDS: dict[str, tuple[Any, str]] = {
    'int': (int, 'a whole number'),
    'float': ((int, float), 'a number'),
    'str': (str, 'a string'),
    'switch': (bool, 'True or False'),
    'kwargs': (dict, 'names and values'),
}
_TOO_LARGE = 2 ** 63  # torch and NumPy count in 64 bits


def check_values(rows: Mapping[str, Flag], args: argparse.Namespace) -> None:
    """Checks every setting by itself.

    Args:
        rows: The table by name.
        args: timm's settings.

    Raises:
        TrickError: For a value of a wrong type, out of bounds, or that is none of the words
            known; names the flag, the rule and the value.
    """
    for name, row in rows.items():
        value = getattr(args, name)
        if value is None and (row.default is None or row.none):
            continue
        is_list = isinstance(value, (list, tuple))
        several = is_list if row.loose else row.many
        if several and not is_list:
            raise TrickError(f'{row.long} must be a list, each {_KINDS[row.kind][1]}, '
                             f'got {value!r}')
        for one in value if several else [value]:
            _check_one(row, one, value)
        if several and row.whole and not row.whole.holds(value):
            raise TrickError(f'{row.long} must be {row.whole.words}, got {value!r}')


def _check_one(row: Flag, one: Any, value: Any) -> None:
    """Checks one value, or one of a list, which a YAML may give of any type."""
    kind, words = _KINDS[row.kind]
    if not isinstance(one, kind) or (isinstance(one, bool) and row.kind != 'switch'):
        raise TrickError(f'{row.long} must be {words}, got {value!r}')
    if row.kind in ('int', 'float'):
        endless = row.rule is not None and not row.rule.finite
        if math.isnan(one) if endless else isinstance(one, float) and not math.isfinite(one):
            raise TrickError(f'{row.long} must be finite, got {value!r}')
        if isinstance(one, int) and abs(one) >= _TOO_LARGE:
            raise TrickError(f'{row.long} must fit into 64 bits, got {len(str(abs(one)))} digits')
    if row.kind == 'str' and '\0' in one:
        raise TrickError(f'{row.long} must hold no null character, got {value!r}')
    if row.kind == 'kwargs' and not all(isinstance(key, str) for key in one):
        raise TrickError(f'{row.long} must have names as keys, got {value!r}')
    if row.words and one not in row.words:
        raise TrickError(f'{row.long} must be one of {", ".join(filter(None, row.words))}, '
                         f'got {value!r}')
    if row.rule and not row.rule.holds(one):
        raise TrickError(f'{row.long} must be {row.rule.words}, got {value!r}')


def idle_settings(
    rows: Mapping[str, Flag], args: argparse.Namespace, given: Collection[str],
) -> list[str]:
    """One line for each setting that the user gave, other than the default, without effect.

    Args:
        rows: The table by name.
        args: timm's settings.
        given: The names that the user set.
    """
    lines = []
    for name, row in rows.items():
        value = getattr(args, name)
        if name not in given or value == row.default:
            continue
        why = next((read.why for read in row.read if not read.when(args)), None)
        if why is not None:
            told = row.long if row.kind == 'switch' else f'{row.long} {value}'
            lines.append(f'{told} has no effect: {why}')
    return lines
