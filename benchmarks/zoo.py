"""Applies tricks to every config of the installed mmdet and of configs/, and checks what comes out.

    python benchmarks/zoo.py [--tricks bag_of_freebies] [--json FILE] [--names FILE]
    python benchmarks/zoo.py --zoo mmpretrain --tricks bag_of_tricks
    python benchmarks/zoo.py --zoo mmsegmentation==1.2.2       the wheel's configs, not installed
    python benchmarks/zoo.py --build [--out DIR] [--jobs N] [--docs docs/zoo.md]
    python benchmarks/zoo.py --train [--out DIR] [--jobs N] [--only REGEX] [--docs docs/zoo.md]

For each loadable config: every trick ends in a verdict, the effective config dumps and reloads
equal, and a second application changes nothing. With --build, all that a training builds before its
first step is built from the effective config. With --train, the smallest config of each detector
type takes two real steps, plain and with the tricks. What upstream cannot do without tricks is
counted apart. Exit status 1 if any config fails.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import zoo_report
from mmengine.config import Config
from rich.console import Console
from rich.progress import track
from zoo_kit import load, sources

from tricks_plugin import apply_tricks
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan import same


def check(cfg: Config, tricks: Any, folder: Path) -> tuple[dict, float]:
    """Applies the tricks to one config.

    Args:
        cfg: The config.
        tricks: The wish for tricks; None takes the config's own.
        folder: Where the effective config is dumped.

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
    again, second = apply_tricks(effective, cfg.get('tricks') if tricks is None else tricks)
    changed = [row.name for row in second.tricks if row.status == 'applied']
    if changed or not same(plain(again), plain(effective)):
        raise AssertionError(f'a second application changes {changed}')
    return plan.to_dict(), elapsed


def wish(cfg: Config, tricks: str) -> str | None:
    """The tricks for a config: None where it names its own, as the examples of configs/ do."""
    return None if cfg.get('tricks') is not None else tricks


def plan_all(args: argparse.Namespace) -> int:
    """Plans every config and prints the counts."""
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    plans, failures, skipped, times = {}, {}, [], []
    with tempfile.TemporaryDirectory() as folder:
        found = sources(args.names, args.zoo).items()
        for name, path in track(found, description='configs', console=Console(stderr=True)):
            if (cfg := load(path)) is None:
                skipped.append(name)
                continue
            try:
                plans[name], elapsed = check(cfg, wish(cfg, args.tricks), Path(folder))
            except Exception as error:  # reported per config
                failures[name] = f'{type(error).__name__}: {error}'
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
                continue
            times.append(elapsed)
            for row in plans[name]['tricks']:
                counts[row['name']][row['status']] += 1
    zoo_report.planned(counts, failures, skipped, times)
    if args.json:
        Path(args.json).write_text(json.dumps(plans, indent=1))
    return 1 if failures or not plans else 0


def build_all(args: argparse.Namespace) -> int:
    """Builds what each effective config describes; what fails with tricks only is a failure."""
    import zoo_build
    if args.zoo == 'mmdet':
        from mmdet.utils import register_all_modules
        register_all_modules()
    out = Path(args.out, 'build', re.sub(r'[^\w.,-]', '_', f'{args.zoo}-{args.tricks}'))
    if args.again:
        shutil.rmtree(out, ignore_errors=True)
    rows = zoo_build.build_all(sources(args.names, args.zoo), out,
                               lambda cfg: wish(cfg, args.tricks), args.jobs)
    text = zoo_report.built(rows)
    print(text)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))
    if args.docs:
        zoo_report.write_part(Path(args.docs), 'built', text)
    return 1 if not rows or any(row['failed'] for row in rows.values()) else 0


def train_all(args: argparse.Namespace) -> int:
    """Trains the smallest config of each kind."""
    import zoo_train
    from mmdet.utils import register_all_modules
    register_all_modules()
    rows = zoo_train.train(Path(args.out), args.tricks, args.only, args.jobs, args.seconds,
                           args.memory, args.again)
    text = zoo_report.trained(rows)
    print(text)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))
    if args.docs:
        zoo_report.write_part(Path(args.docs), 'trained', text)
    return 1 if not rows or any(row['status'] == 'failed' for row in rows) else 0


def main(argv: list[str] | None = None) -> int:
    """Walks the zoo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument('--build', action='store_true', help='build what the configs describe')
    mode.add_argument('--train', action='store_true', help='two steps of each detector type')
    parser.add_argument('--tricks', default='bag_of_freebies')
    parser.add_argument('--zoo', default='mmdet', help='whose configs are planned: an installed '
                        'package, such as mmpretrain, a folder, or a wheel, such as '
                        'mmsegmentation==1.2.2, whose library is then not looked into')
    parser.add_argument('--json', help='write every plan or result here')
    parser.add_argument('--docs', help='the page whose generated table is written anew')
    parser.add_argument('--names', help='a file of config names, one a line; all by default')
    parser.add_argument('--out', default='work_dirs/zoo', help='results of --build and --train: '
                        'what has one here with the same tricks is not built or tried again')
    parser.add_argument('--jobs', type=int, default=1, help='processes of --build and --train')
    parser.add_argument('--again', action='store_true', help='build or try again what has a result '
                        'there, as after a change of the code')
    train = parser.add_argument_group('with --train')
    train.add_argument('--only', default='', help='a regular expression for the names of kinds')
    train.add_argument('--seconds', type=int, default=600, help="limit of a kind's CPU time, plain "
                       'and with tricks each')
    train.add_argument('--memory', type=int, default=10, help="GiB, limit of a kind's memory")
    args = parser.parse_args(argv)
    try:
        re.compile(args.only)
    except re.error as error:
        parser.error(f'--only must be a regular expression: {error}, got {args.only!r}')
    if min(args.jobs, args.seconds, args.memory) < 1:
        parser.error('--jobs, --seconds and --memory must be >= 1')
    if args.zoo != 'mmdet' and args.train or args.build and args.zoo not in ('mmdet', 'mmpretrain'):
        parser.error('--train knows the zoo of mmdet, and --build that and mmpretrain\'s, got '
                     f'--zoo {args.zoo}')
    if args.names:
        args.names = Path(args.names).read_text().split()
    return (build_all if args.build else train_all if args.train else plan_all)(args)


if __name__ == '__main__':
    sys.exit(main())
