"""Shows what tricks would change in a config, without training."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence

from ..plan.errors import TrickError
from .common import add_config_arguments, load_config

__all__ = ['main']


def _parser(prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description='Shows what tricks would change in a config, without training.',
        epilog='Exit status 0 when planned; 2, with one line on stderr, when the config or a '
               'trick is wrong.')
    parser.add_argument('config', help='config file, or PACKAGE::PATH of an installed zoo')
    add_config_arguments(parser)
    parser.add_argument('--processes', type=int, metavar='N',
                        help='plan for a run of N processes (default: those of the environment)')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--json', action='store_true', help='print one JSON object')
    form.add_argument('--diff', action='store_true', help='print a unified diff of the config')
    form.add_argument('--effective', action='store_true', help='print the effective config')
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Plans and prints.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.

    Raises:
        TrickError: If the config, a trick or the number of processes is wrong.
    """
    args = _parser(prog).parse_args(argv)
    if args.processes is not None and args.processes < 1:
        raise TrickError(f'--processes must be >= 1, got {args.processes}')
    from ..common.processes import planned_for
    from ..mm.apply import apply_tricks

    # Libraries that are imported while planning may print; stdout belongs to the plan.
    with contextlib.redirect_stdout(sys.stderr), planned_for(args.processes):
        cfg = load_config(args.config, args.tricks, args.cfg_options)
        effective, plan = apply_tricks(cfg)
    if args.json:
        print(json.dumps({**plan.to_dict(), 'config': args.config}, indent=2))
    elif args.diff:
        print(plan.diff(), end='')
    elif args.effective:
        print(effective.pretty_text)
    else:
        print(plan.table())
    return 0
