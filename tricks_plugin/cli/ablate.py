"""Trains with and without tricks over several seeds, and says what each one brings."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plan.errors import TrickError
from .common import Parser, add_config_arguments, needs_timm, split_flags

if TYPE_CHECKING:
    from ..ablate.ablation import Ablation
    from ..ablate.folder import Folder
    from ..ablate.study import Run

__all__ = ['main', 'mmdet_parser', 'parse', 'timm_parser']

MODES = ('stack', 'single', 'leave-one-out', 'whole')
_EPILOG = ('Exit status 0 when every run has a result, 1 when one has failed or does not count, 2 '
           'for a wrong setting. Give the same command again to go on after an interruption. '
           '`tricks ablate timm --help` tells of timm models.')


def mmdet_parser(prog: str | None) -> argparse.ArgumentParser:
    """The arguments of the command for configs."""
    parser = Parser(
        prog=prog, description='Trains a config with and without tricks over several seeds, and '
                               'says what each trick brings.', epilog=_EPILOG)
    parser.add_argument('config', nargs='*', metavar='CONFIG',
                        help='config files, or PACKAGE::PATH of an installed zoo')
    add_config_arguments(parser)
    _add_arguments(parser, 'configs', ';KEY=VALUE sets something')
    return parser


def timm_parser(prog: str | None) -> argparse.ArgumentParser:
    """The arguments of the command for timm models."""
    parser = Parser(
        prog=prog, description='Trains timm models with and without tricks over several seeds, '
                               'and says what each trick brings.',
        usage='%(prog)s --tricks NAME[,NAME...] --out DIR [...] -- DATA [flags of tricks timm]',
        epilog=_EPILOG)
    parser.add_argument('--tricks', metavar='NAME[,NAME...]',
                        help='recipes or single tricks to apply')
    parser.add_argument('--trick-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='parameters, such as mixup.alpha=0.4')
    parser.add_argument('--models', nargs='+', metavar='NAME',
                        help='several models, in place of --model behind --')
    _add_arguments(parser, 'models', ';--flag value sets flags')
    return parser


def _add_arguments(parser: argparse.ArgumentParser, subjects: str, own: str) -> None:
    """Adds what both trainers have in common.

    Args:
        parser: The parser.
        subjects: What there may be several of.
        own: What an arm may have beside tricks.
    """
    parser.add_argument(
        '--mode', choices=MODES,
        help='stack: the tricks one by one, each on top of those before; single: each alone; '
             'leave-one-out: all but one; whole: with and without (default: stack, or whole for '
             f'several {subjects}); beside --arms, stack compares each arm with the one before')
    parser.add_argument(
        '--arms', nargs='+', metavar='NAME=TRICKS',
        help='in place of --tricks: sets of tricks, each against the training as it is, or against '
             f'a first arm that is called plain; -NAME leaves a trick of a recipe out, {own} for '
             'the arm alone, ;tricks.NAME.PARAM=V a parameter, ;label=TEXT its name in tables')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='(%(default)s)')
    parser.add_argument('--first-seed', type=int, default=0, metavar='N', help='(%(default)s)')
    parser.add_argument('--jobs', type=int, default=1, metavar='N',
                        help='runs at the same time (%(default)s)')
    parser.add_argument('--metric', metavar='NAME', help='any that the validation gives, such as '
                        'coco/bbox_mAP_50 or top5; what counts is its value after the last epoch')
    better = parser.add_mutually_exclusive_group()
    better.add_argument(
        '--greater-is-better', dest='greater', action='store_true', default=None,
        help='more of the metric is better; the default is what its name tells')
    better.add_argument(
        '--smaller-is-better', dest='greater', action='store_false', default=None,
        help='less of it is better; the folder keeps what is said here, and --report-only takes it')
    parser.add_argument('--launcher', choices=['none', 'slurm', 'local'], default='none',
                        help='none: processes of this machine; slurm: jobs by submitit; local: '
                             "submitit's own processes (%(default)s)")
    parser.add_argument('--launcher-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='of the jobs, such as slurm_partition=gpu gpus_per_node=1')
    parser.add_argument('--keep-checkpoints', choices=['last', 'none'], default='last',
                        help="each run's last checkpoint, or none (%(default)s)")
    parser.add_argument('--keep-other-code', action='store_true',
                        help='take finished runs of other code or library versions as well; '
                             'without it they are made anew, and the former moved aside')
    parser.add_argument('--report-only', action='store_true',
                        help='run nothing: the tables as they stand, also while runs go on')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder of the runs and the report')


def _check(args: argparse.Namespace) -> None:
    """Refuses numbers that mean nothing and flags that exclude each other.

    Raises:
        TrickError: If there is one.
    """
    for name, least in (('seeds', 1), ('jobs', 1), ('first_seed', 0)):
        if getattr(args, name) < least:
            raise TrickError(f'--{name.replace("_", "-")} must be >= {least}, '
                             f'got {getattr(args, name)}')
    if args.arms and (args.tricks or args.mode not in (None, 'stack')):
        raise TrickError('--arms stands in place of --tricks, and beside no --mode but stack')


def parse(words: Sequence[str], name: str = 'tricks ablate',
          ) -> tuple[argparse.Namespace, list[str] | None]:
    """The settings of a command line, and the flags of timm's trainer; None for mmdet configs.

    Args:
        words: As `main` takes them.
        name: The program's name in messages.

    Raises:
        TrickError: If a word is wrong.
    """
    flags = None
    if list(words[:1]) == ['timm']:
        own, flags = split_flags(list(words[1:]))
        args = timm_parser(f'{name} timm').parse_args(own)
    else:
        args = mmdet_parser(name).parse_args(list(words))
    _check(args)
    return args, flags


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Runs an ablation, or shows how it stands.

    Args:
        argv: The words after the program's name; by default the process's. The first may be
            ``timm``; the trainer's flags then follow ``--``.
        prog: The program's name in messages.

    Raises:
        TrickError: If a setting is wrong.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    name = prog or 'tricks ablate'
    command = shlex.join([*name.split(' '), *words])
    args, flags = parse(words, name)

    def plan() -> Ablation:
        if flags is not None:
            with needs_timm():
                from ..ablate.setup_timm import plan_timm
                return plan_timm(args, flags, command)
        from ..ablate.setup import plan_ablation
        if not args.config:
            raise TrickError('CONFIG is missing: which config is to be trained?')
        return plan_ablation(args, command)

    from ..ablate.folder import Folder
    folder = Folder(args.out)
    if not args.report_only:
        try:
            _run(args, folder, plan)
        except KeyboardInterrupt:
            print('error: interrupted; give the same command again to go on', file=sys.stderr)
            return 130
    return _report(folder, args)


def _run(args: argparse.Namespace, folder: Folder, plan: Callable[[], Ablation]) -> None:
    """Plans, and runs what is not finished yet."""
    from rich.console import Console

    from ..ablate.ablation import jobs_of
    from ..ablate.engine import Engine
    from ..ablate.identity import code_digest
    from ..ablate.launch import launcher_of
    from ..ablate.needs import require
    from ..ablate.progress import Progress
    require()
    folder.read_plan()  # before anything is written there, and before the planning, which is slow
    with folder.locked() as lock:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print while they are imported
            ablation = plan()
        folder.keep_plan(ablation.to_plan())
        engine = Engine(
            folder, launcher_of(args.launcher, args.jobs, lock, args.out, ablation.launcher),
            args.jobs, ablation.metric, args.keep_checkpoints == 'last', args.launcher == 'none')
        known = code_digest(), ablation.versions
        jobs = [job for job in jobs_of(ablation)
                if not engine.is_done(job, *known, args.keep_other_code)]
        console = Console()
        for note in ablation.study.notes:
            _say(console, note)
        _say(console, f'{len(jobs)} runs to do, {len(jobs_of(ablation)) - len(jobs)} finished '
                      'before')
        with Progress(console, len(jobs), args.jobs) as progress:
            engine.run(jobs, progress)
        for name, rungs in ablation.planned.items():
            if reason := engine.measure_speed(name, rungs[0], ablation.study.seeds):
                _say(console, f'{name}: no throughput of inference: {reason}')


def _report(folder: Folder, args: argparse.Namespace) -> int:
    """Prints the table and writes the report; returns the exit status."""
    from rich.console import Console

    from ..ablate.report import terminal_table, write_reports
    from ..common.files import json_safe, write_json
    if args.report_only and args.greater is not None:
        folder.keep_direction(args.greater)
    study = folder.study()
    write_json(folder.path / 'study.json', json_safe(study.to_dict()))
    written = write_reports(study, folder.path)
    console = Console()
    console.print(terminal_table(study))
    _say(console, f'Written: {", ".join(str(path) for path in written)}')
    asked = range(args.first_seed, args.first_seed + args.seeds)
    bad = [run for run in study.runs if run.seed in asked and not run.counts]
    if args.report_only or not bad:
        return 0
    words = '; '.join(f'{run.subject}, {run.rung}, seed {run.seed}: {_why(run)}' for run in bad)
    print(f'error: {len(bad)} of {len(study.runs)} runs have no result that counts: {words}',
          file=sys.stderr)
    return 1


def _why(run: Run) -> str:
    """Why a run does not count."""
    if run.dead:
        return f'{", ".join(run.dead)} had no effect'
    return run.error or run.status


def _say(console: Any, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
