"""What the walks through the zoo print, and the tables that they write into docs/zoo.md."""

from __future__ import annotations

import collections
import re
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def planned(
    counts: dict[str, collections.Counter], failures: dict[str, str], skipped: list[str],
    times: list[float],
) -> None:
    """Prints verdicts per trick, failures and the time of `apply_tricks`."""
    status = ['applied', 'present', 'not_applicable']
    status += sorted({key for count in counts.values() for key in count} - set(status))
    table = Table('trick', *status)
    for name, count in counts.items():
        table.add_row(name, *(str(count[key]) for key in status))
    Console().print(table)
    print(f'{len(times)} configs planned, {len(failures)} failed, {len(skipped)} not loadable')
    for name, message in failures.items():
        print(f'FAILED {name}: {message}')
    if times:
        ordered = sorted(times)
        print(f'apply_tricks: median {statistics.median(times):.1f} ms, 95 % of configs below '
              f'{ordered[int(0.95 * (len(ordered) - 1))]:.1f} ms; slowest {ordered[-1]:.0f} ms '
              "(the first that needs mmdet's modules imports them)")


def _cell(text: str) -> str:
    """A text that a Markdown table can hold."""
    return text.replace('|', '\\|').replace('<', '&lt;')


def built(rows: dict[str, dict[str, Any]]) -> str:
    """The table of what could not be built, by the part and the error.

    Args:
        rows: By config: errors with the tricks only (``failed``), and plain too (``upstream``).
    """
    failed = [name for name, row in rows.items() if row['failed']]
    upstream = [name for name, row in rows.items() if row['upstream'] and not row['failed']]
    lines = [f'{len(rows)} configs: {len(rows) - len(failed) - len(upstream)} built whole, '
             f'{len(upstream)} but for what upstream cannot build without tricks either, '
             f'{len(failed)} failed.']
    groups: dict[tuple[str, str, str], list[str]] = collections.defaultdict(list)
    for name, row in rows.items():
        for key in ('failed', 'upstream'):
            for part, error in row[key].items():
                groups[key, part, error].append(name)
    if groups:
        lines += ['', '| whose | part | configs | error | such as |',
                  '| --- | --- | --- | --- | --- |']
    for (whose, part, error), names in sorted(groups.items()):
        lines.append(f'| {"tricks" if whose == "failed" else "upstream"} | {part} | {len(names)} | '
                     f'{_cell(error)} | `{names[0]}` |')
    return '\n'.join(lines)


def trained(rows: list[dict[str, Any]]) -> str:
    """The table of kinds: what trained, and what did not and why.

    Args:
        rows: Results of `zoo_train.train`.
    """
    counts = collections.Counter(row['status'] for row in rows)
    lines = [f'{len(rows)} kinds: {counts["trained"]} trained, {counts["skipped"]} skipped, '
             f'{counts["failed"]} failed.', '',
             '| kind | config | result | applied; not live after two steps | CPU s, plain / bag |',
             '| --- | --- | --- | --- | --- |']
    for row in rows:
        applied = [name for name, status in row.get('tricks', {}).items() if status == 'applied']
        evidence = row.get('bag', {}).get('evidence', {})
        late = [f'{name} {live}' for name, live in evidence.items() if live != 'live']
        words = ', '.join(applied) + (f'; {", ".join(late)}' if late else '')
        result = row['status'] + (f": {_cell(row['reason'])}" if row['reason'] else '')
        times = f"{row['plain_seconds']:.0f}" if 'plain_seconds' in row else ''
        times += f" / {row['seconds']:.0f}" if 'seconds' in row else ''
        lines.append(f"| {row['kind']} | `{row['config']}` | {result} | {words} | {times} |")
    return '\n'.join(lines)


def write_part(path: Path, name: str, text: str) -> None:
    """Writes a generated part of a page anew.

    Args:
        path: The page.
        name: The part, which stands between ``<!-- NAME: generated ... -->`` and
            ``<!-- end of NAME -->``.
        text: What to put there.

    Raises:
        ValueError: If the page has no such part, or several.
    """
    before = path.read_text(encoding='utf-8')
    pattern = re.compile(rf'(<!-- {name}: generated[^\n]*-->\n).*?(<!-- end of {name} -->)', re.S)
    after, count = pattern.subn(lambda found: f'{found[1]}{text}\n{found[2]}', before)
    if count != 1:
        raise ValueError(f'{path} must mark the part {name!r} once, got {count} times')
    path.write_text(after, encoding='utf-8')
