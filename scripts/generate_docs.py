"""Writes the parts of the documentation, and the list of functions, that follow from the rooms.

    python scripts/generate_docs.py            # the files in PARTS
    python scripts/generate_docs.py --check    # status 1, and what is stale, if one is not so

Generated parts stand between ``<!-- NAME: generated ... -->`` and ``<!-- end of NAME -->``; in
Python, between the comments ``# NAME: generated ...`` and ``# end of NAME``.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'tricks_plugin'
sys.path.insert(0, str(ROOT))


def _yes(value: bool) -> str:
    return 'yes' if value else ''


def tricks_table() -> str:
    """The table of tricks for the README."""
    from tricks_plugin.cli.listing import trick_rows
    lines = ['| trick | what it does | mmdet | timm | functions | source |',
             '| --- | --- | --- | --- | --- | --- |']
    for row in trick_rows():
        name = row['name']
        functions = ', '.join(f'`{function}`' for function in row['functions'])
        lines.append(f"| [`{name}`](tricks_plugin/tricks/{name}/README.md) | {row['title']} | "
                     f"{_yes(row['mmdet'])} | {_yes(row['timm'])} | {functions} | "
                     f"{row['source']} |")
    return '\n'.join(lines)


def recipes_table() -> str:
    """The table of recipes for the README."""
    from tricks_plugin.plan.recipes import load_recipe, recipe_names
    lines = ['| recipe | tricks |', '| --- | --- |']
    lines += [f'| `{name}` | {", ".join(load_recipe(name))} |' for name in recipe_names()]
    return '\n'.join(lines)


def distributed_table() -> str:
    """What changes with the number of processes."""
    from tricks_plugin.cli.listing import trick_rows
    rows = trick_rows()
    lines = ['| trick | with n processes |', '| --- | --- |']
    lines += [f"| `{row['name']}` | {row['distributed']} |" for row in rows
              if row['distributed'] != 'nothing']
    same = ', '.join(f"`{row['name']}`" for row in rows if row['distributed'] == 'nothing')
    return '\n'.join([*lines, f'| {same} | nothing |'])


def examples_table() -> str:
    """The example configs: what each stands on, and what it sets."""
    lines = ['| example | on top of | beside the recipe | also in pure Python |',
             '| --- | --- | --- | --- |']
    folder = ROOT / 'configs' / 'examples'
    pure = {path.stem.replace('_', '-') for path in (folder / 'pure_python').glob('*.py')}
    for path in sorted(folder.glob('*.py')):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        values = {node.targets[0].id: node.value for node in tree.body
                  if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
        base = ast.literal_eval(values.pop('_base_'))[0]
        own = ', '.join(f'`{name} = {ast.unparse(value)}`' for name, value in values.items())
        lines.append(f'| [{path.stem}](examples/{path.name}) | `{base}` | {own} | '
                     f"{_yes(path.stem.replace('_', '-') in pure)} |")
    return '\n'.join(lines)


def _floor(module: str) -> str:
    """The part of the house that a module of the package stands in."""
    parts = module.split('.')[1:]
    if not parts:
        return 'tricks_plugin'
    if parts[0] == 'tricks' and len(parts) > 1:
        return 'rooms'
    return parts[0] if (PACKAGE / parts[0]).is_dir() else 'tricks_plugin'


def imports() -> list[tuple[str, str]]:
    """Which part imports which, at the tops of modules or later; a part's own left out."""
    found = {(_floor(_module(path)), _floor(target)) for path in sorted(PACKAGE.rglob('*.py'))
             if '.mim' not in path.parts for target in imported(path)}
    return sorted(edge for edge in found if edge[0] != edge[1])


def _module(path: Path) -> str:
    """The dotted name of a file of the package."""
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def imported(path: Path) -> list[str]:
    """The modules of this package that a file imports, anywhere in it."""
    module = _module(path)
    package = module if path.stem == '__init__' else module.rpartition('.')[0]
    return [target for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
            for target in _targets(node, package)]


def _targets(node: ast.AST, package: str) -> list[str]:
    """The modules of this package that a statement imports."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ''
        if node.level:
            above = package.split('.')[:len(package.split('.')) - node.level + 1]
            base = '.'.join([*above, base] if base else above)
        names = [base] if base != 'tricks_plugin' else [
            f'{base}.{alias.name}' for alias in node.names]
    return [name for name in names if name.split('.')[0] == 'tricks_plugin']


def drawing() -> str:
    """The imports between the parts of the house as a Mermaid drawing."""
    lines = ['```mermaid', 'graph TD']
    lines += [f'    {source} --> {target}' for source, target in imports()]
    return '\n'.join([*lines, '```'])


def _public(path: Path) -> list[str]:
    """The names in a module's ``__all__``."""
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__':
            return list(ast.literal_eval(node.value))
    raise ValueError(f'{path} has no __all__')


def _kind(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order of ruff's imports."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def functions() -> str:
    """The imports of tricks_plugin.functional, and its ``__all__``.

    Raises:
        ValueError: If two rooms call different things by one name.
    """
    modules = {f'tricks.{path.parent.name}.functional': _public(path)
               for path in sorted((PACKAGE / 'tricks').glob('*/functional.py'))}
    names = sorted(name for public in modules.values() for name in public)
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f'more than one room has {", ".join(sorted(twice))}')
    lines = []
    for module, public in modules.items():
        line = f'from .{module} import {", ".join(sorted(public, key=_kind))}'
        lines += [line] if len(line) <= 100 else [
            f'from .{module} import (', *(f'    {name},' for name in sorted(public, key=_kind)),
            ')']
    listed = textwrap.fill(', '.join(map(repr, names)), 96)
    return '\n'.join([*lines, '', '__all__ = [', textwrap.indent(f'{listed},', '    '), ']'])


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    'README.md': {'tricks': tricks_table, 'recipes': recipes_table},
    'configs/README.md': {'examples': examples_table},
    'docs/distributed.md': {'distributed': distributed_table},
    'docs/architecture.md': {'imports': drawing},
    'tricks_plugin/functional.py': {'functions': functions},
}


def filled(text: str, parts: dict[str, Callable[[], str]]) -> str:
    """A document with its generated parts written anew.

    Args:
        text: The document.
        parts: What writes each part, by its name.

    Raises:
        ValueError: If the document lacks the marks of a part.
    """
    for name, write in parts.items():
        pattern = re.compile(
            rf'((?:<!--|#) {name}: generated[^\n]*\n).*?((?:<!--|#) end of {name}\b)', re.S)
        found = pattern.findall(text)
        if len(found) != 1:
            raise ValueError(f'the part {name!r} is marked {len(found)} times, not once')
        first, last = found[0]
        text = pattern.sub(f'{first}{write()}\n{last}'.replace('\\', r'\\'), text)
    return text


def main() -> int:
    """Writes or compares; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='compare only')
    check = parser.parse_args().check
    stale = []
    for name, parts in PARTS.items():
        path = ROOT / name
        before = path.read_text(encoding='utf-8')
        after = filled(before, parts)
        if after != before:
            stale.append(name)
            if not check:
                path.write_text(after, encoding='utf-8')
    print(f'{"stale" if check else "written"}: {", ".join(stale) or "nothing"}')
    return int(check and bool(stale))


if __name__ == '__main__':
    sys.exit(main())
