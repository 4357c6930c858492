"""Tests a checkpoint: every flag of mmdet's test.py, and --tricks.

The effective config is written to a temporary folder and handed to the installed mmdet's own
script, so that every flag it has works here.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..plan.errors import TrickError
from .common import add_config_arguments, load_config

__all__ = ['main']


def stock_script() -> Path:
    """The test.py of the installed mmdet."""
    import mmdet
    script = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'test.py'
    if not script.is_file():
        raise TrickError(f'mmdet {mmdet.__version__} was installed without its tools: no {script}')
    return script


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Applies the tricks and runs the stock script on the effective config.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.

    Raises:
        TrickError: If the config or a trick is wrong, the checkpoint or mmdet's script missing.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description="mmdet's test.py with tricks: every flag of it, and --tricks.",
        epilog="All other flags go to mmdet's test.py.")
    parser.add_argument('config', help='config file, or PACKAGE::PATH of an installed zoo')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_config_arguments(parser)
    args, others = parser.parse_known_args(argv)
    if not Path(args.checkpoint).is_file() and '://' not in args.checkpoint:
        raise TrickError(f'no checkpoint at {args.checkpoint}')
    from ..mm.apply import apply_tricks
    script = stock_script()
    effective, _ = apply_tricks(load_config(args.config, args.tricks, args.cfg_options))
    with tempfile.TemporaryDirectory(prefix='tricks_test_') as folder:
        config = Path(folder) / f'{Path(args.config).stem}.py'
        effective.dump(config)
        sys.argv = [str(script), str(config), args.checkpoint, *others]
        runpy.run_path(str(script), run_name='__main__')
    return 0
