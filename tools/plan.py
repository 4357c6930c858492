"""Shows what tricks would change in a config, without training.

    python tools/plan.py CONFIG [--tricks NAME[,NAME...]] [--cfg-options ...] [--json | --diff]

Exit status 0 when planned; 2, with one line on stderr, when the config or a trick is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from tricks_plugin.cli import add_config_arguments, load_config, run_door


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file, or PACKAGE::PATH of an installed zoo')
    add_config_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--json', action='store_true', help='print one JSON object')
    form.add_argument('--diff', action='store_true', help='print a unified diff of the config')
    form.add_argument('--effective', action='store_true', help='print the effective config')
    return parser.parse_args()


def main() -> int:
    """Plans and prints."""
    args = parse_args()
    from tricks_plugin import apply_tricks

    # Libraries that are imported while planning may print; stdout belongs to the plan.
    with contextlib.redirect_stdout(sys.stderr):
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


if __name__ == '__main__':
    sys.exit(run_door(main))
