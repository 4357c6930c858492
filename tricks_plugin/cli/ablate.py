"""Trains a config with and without tricks over several seeds, and says what each one brings."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..plan.errors import TrickError
from .common import add_config_arguments

__all__ = ['main']

MODES = ('stack', 'single', 'leave-one-out', 'whole')


def _parser(prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description='Trains a config with and without tricks over several seeds, and '
                               'says what each trick brings.',
        epilog='Exit status 0 when every run has a result, 1 when one has failed, 2 for a wrong '
               'setting. Give the same command again to go on after an interruption.')
    parser.add_argument('config', nargs='*', metavar='CONFIG',
                        help='config files, or PACKAGE::PATH of an installed zoo')
    add_config_arguments(parser)
    parser.add_argument(
        '--mode', choices=MODES,
        help='stack: the tricks one by one, each on top of those before; single: each alone; '
             'leave-one-out: all but one; whole: with and without (default: stack, or whole for '
             'several configs)')
    parser.add_argument(
        '--arms', nargs='+', metavar='NAME=TRICKS',
        help='in place of --tricks and --mode: sets of tricks, each against the config as it is; '
             '-NAME leaves a trick of a recipe out, ;KEY=VALUE sets something for the arm alone')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='(%(default)s)')
    parser.add_argument('--first-seed', type=int, default=0, metavar='N', help='(%(default)s)')
    parser.add_argument('--jobs', type=int, default=1, metavar='N',
                        help='runs at the same time (%(default)s)')
    parser.add_argument('--metric', metavar='NAME', help='any that the validation gives, such as '
                        'coco/bbox_mAP_50; what counts is its value after the last epoch')
    parser.add_argument('--launcher', choices=['none', 'slurm', 'local'], default='none',
                        help='none: processes of this machine; slurm: jobs by submitit; local: '
                             "submitit's own processes (%(default)s)")
    parser.add_argument('--launcher-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='of the jobs, such as slurm_partition=gpu gpus_per_node=1')
    parser.add_argument('--keep-checkpoints', choices=['last', 'none'], default='last',
                        help="each run's last checkpoint, or none (%(default)s)")
    parser.add_argument('--keep-other-code', action='store_true',
                        help='take finished runs of other code or library versions as well')
    parser.add_argument('--report-only', action='store_true',
                        help='run nothing: the tables as they stand, also while runs go on')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder of the runs and the report')
    return parser


def _check(args: argparse.Namespace) -> None:
    """Refuses numbers that mean nothing and flags that exclude each other.

    Raises:
        TrickError: If there is one.
    """
    for name, least in (('seeds', 1), ('jobs', 1), ('first_seed', 0)):
        if getattr(args, name) < least:
            raise TrickError(f'--{name.replace("_", "-")} must be >= {least}, '
                             f'got {getattr(args, name)}')
    if args.report_only:
        return
    if not args.config:
        raise TrickError('CONFIG is missing: which config is to be trained?')
    if args.arms and (args.tricks or args.mode):
        raise TrickError('--arms stands in place of --tricks and --mode: give one or the other')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Runs an ablation, or shows how it stands.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.

    Raises:
        TrickError: If a setting is wrong.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(prog).parse_args(words)
    _check(args)
    from ..ablate.folder import Folder
    folder = Folder(args.out)
    failed = 0
    if not args.report_only:
        failed = _run(args, folder, shlex.join([prog or 'tricks ablate', *words]))
    _report(folder)
    return 1 if failed else 0


def _run(args: argparse.Namespace, folder: Any, command: str) -> int:
    """Plans, and runs what is not finished yet; returns how many runs have failed."""
    from rich.console import Console

    from ..ablate.engine import Engine
    from ..ablate.identity import code_digest, versions
    from ..ablate.launch import launcher_of
    from ..ablate.mm_run import LIBRARIES
    from ..ablate.progress import Progress
    from ..ablate.setup import jobs_of, plan_ablation
    with folder.locked() as lock:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print while they are imported
            ablation = plan_ablation(args, command)
            known = code_digest(), versions(*LIBRARIES)
        folder.keep_plan(ablation.to_plan())
        engine = Engine(
            folder, launcher_of(args.launcher, args.jobs, lock, args.out, ablation.launcher),
            args.jobs, ablation.metric, args.keep_checkpoints == 'last', args.launcher == 'none')
        jobs = [job for job in jobs_of(ablation)
                if not engine.is_done(job, *known, args.keep_other_code)]
        console = Console()
        console.print(f'{len(jobs)} runs to do, {len(jobs_of(ablation)) - len(jobs)} finished '
                      f'before', highlight=False, markup=False)
        with Progress(console, len(jobs), args.jobs) as progress:
            return engine.run(jobs, progress)


def _report(folder: Any) -> None:
    """Prints the table and writes the report."""
    from rich.console import Console

    from ..ablate.report import terminal_table, write_reports
    from ..common.files import write_json
    study = folder.study()
    write_json(folder.path / 'study.json', study.to_dict())
    written = write_reports(study, folder.path)
    console = Console()
    console.print(terminal_table(study))
    console.print(f'Written: {", ".join(str(path) for path in written)}', highlight=False,
                  markup=False, soft_wrap=True)
