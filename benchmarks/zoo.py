"""Applies tricks to every config of the installed mmdet, and checks what comes out.

    python benchmarks/zoo.py [--tricks bag_of_freebies] [--json FILE] [--names FILE]

For each loadable config: every trick ends in a verdict, the effective config dumps and reloads
equal, and a second application changes nothing. Exit status 1 if any config fails.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tricks_plugin import apply_tricks
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan import same
from tricks_plugin.plan.verdict import STATUSES


def zoo() -> Path:
    """The installed mmdet's configs."""
    import mmdet
    return Path(mmdet.__file__).parent / '.mim' / 'configs'


def config_names(root: Path) -> list[str]:
    """Every config below the zoo that trains something by itself, in either style."""
    return sorted(
        str(path.relative_to(root)) for path in root.rglob('*.py')
        if '_base_' not in path.parts and path.name != '__init__.py'
    )


def load(path: Path) -> Config | None:
    """The config, or None where mmengine cannot load it (a base file is missing).

    Packages that a config would import at its training need not be installed for its plan.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            return Config.fromfile(path, import_custom_modules=False)
        except Exception:  # a config is a program
            return None


def check(cfg: Config, tricks: str, folder: Path) -> tuple[dict, float]:
    """Applies the tricks to one config.

    Returns:
        The plan as JSON holds it, and the milliseconds that `apply_tricks` took.

    Raises:
        AssertionError: If a row lacks its reason, the effective config does not reload equal, or
            a second application changes something.
    """
    start = time.perf_counter()
    effective, plan = apply_tricks(cfg, tricks)
    elapsed = (time.perf_counter() - start) * 1e3
    for row in plan.tricks:
        if row.status == 'applied' and not row.changes:
            raise AssertionError(f'{row.name}: applied without a change')
        if row.status != 'applied' and not row.reason:
            raise AssertionError(f'{row.name}: {row.status} without a reason')
    dumped = folder / 'effective.py'
    # Pretty-printing takes longer than all the rest, and does not change what is read back.
    Config(effective.to_dict(), format_python_code=False).dump(dumped)
    if not same(plain(Config.fromfile(dumped, import_custom_modules=False)), plain(effective)):
        raise AssertionError('the effective config does not reload equal')
    again, second = apply_tricks(effective, tricks)
    changed = [row.name for row in second.tricks if row.status == 'applied']
    if changed or not same(plain(again), plain(effective)):
        raise AssertionError(f'a second application changes {changed}')
    return plan.to_dict(), elapsed


def main() -> int:
    """Walks the zoo and prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--tricks', default='bag_of_freebies')
    parser.add_argument('--json', help='write every plan here')
    parser.add_argument('--names', help='a file of config names, one a line; all by default')
    args = parser.parse_args()
    root = zoo()
    names = Path(args.names).read_text().split() if args.names else config_names(root)
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    plans, failures, skipped, times = {}, {}, [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in track(names, description='configs', console=Console(stderr=True)):
            cfg = load(root / name)
            if cfg is None:
                skipped.append(name)
                continue
            try:
                plans[name], elapsed = check(cfg, args.tricks, Path(folder))
            except Exception as error:  # reported per config
                failures[name] = f'{type(error).__name__}: {error}'
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
                continue
            times.append(elapsed)
            for row in plans[name]['tricks']:
                counts[row['name']][row['status']] += 1
    report(counts, failures, skipped, times)
    if args.json:
        Path(args.json).write_text(json.dumps(plans, indent=1))
    return 1 if failures or not plans else 0


def report(
    counts: dict[str, collections.Counter], failures: dict[str, str], skipped: list[str],
    times: list[float],
) -> None:
    """Prints verdicts per trick, failures and the time of `apply_tricks`."""
    table = Table('trick', *STATUSES)
    for name, count in counts.items():
        table.add_row(name, *(str(count[key]) for key in STATUSES))
    Console().print(table)
    print(f'{len(times)} configs planned, {len(failures)} failed, {len(skipped)} not loadable')
    for name, message in failures.items():
        print(f'FAILED {name}: {message}')
    if times:
        ordered = sorted(times)
        print(f'apply_tricks: median {statistics.median(times):.1f} ms, 95 % of configs below '
              f'{ordered[int(0.95 * (len(ordered) - 1))]:.1f} ms; slowest {ordered[-1]:.0f} ms '
              "(the first that needs mmdet's modules imports them)")


if __name__ == '__main__':
    sys.exit(main())
