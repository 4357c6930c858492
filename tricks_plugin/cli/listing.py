"""Lists the tricks and the recipes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ..plan import TRICKS, Trick
from ..plan.recipes import load_recipe, recipe_names

__all__ = ['main', 'trick_rows']


def trick_rows() -> list[dict[str, Any]]:
    """What the tables of tricks show, one row per trick in the order of application."""
    return [{
        'name': trick.name, 'title': trick.title,
        'mmdet': _has_side(trick, 'mm', 'Edit', 'apply'),
        'timm': _has_side(trick, 'timm', 'Flags', 'timm_args'),
        'functions': list(trick.functions), 'source': trick.paper,
        'distributed': trick.distributed or 'nothing',
    } for trick in TRICKS.in_order()]


def _has_side(trick: type[Trick], module: str, name: str, method: str) -> bool:
    """Whether a room's trick has a module for a trainer, or a trick of one module its method."""
    return getattr(trick, method) is not getattr(Trick, method) \
        or trick.side(module, name) is not None


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Prints the list.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.
    """
    parser = argparse.ArgumentParser(prog=prog, description='Lists the tricks and the recipes.')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args(argv)
    rows = trick_rows()
    recipes = {name: list(load_recipe(name)) for name in recipe_names()}
    if args.json:
        print(json.dumps({'tricks': rows, 'recipes': recipes}, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table
    table = Table(title='tricks', title_justify='left')
    for column in ('trick', 'what it does', 'mmdet', 'timm', 'source'):
        table.add_column(column, no_wrap=column == 'trick')
    for row in rows:
        table.add_row(row['name'], row['title'], *('yes' if row[key] else '-' for key in (
            'mmdet', 'timm')), row['source'])
    console = Console()
    console.print(table)
    for name, tricks in recipes.items():
        console.print(f'[bold]{name}[/bold]: {", ".join(tricks)}')
    return 0
