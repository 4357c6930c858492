"""Shows training samples before and after the tricks, as one sheet or a folder of pictures."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..plan.errors import TrickError
from .common import (
    Parser,
    add_config_arguments,
    config_name,
    load_config,
    needs_timm,
    parse_for_either,
)

__all__ = ['main']

_SHEET_PX, _FOLDER_PX = 400, 720


def _parser(prog: str | None, for_timm: bool) -> Parser:
    parser = Parser(
        prog=f'{prog or "browse"} timm' if for_timm else prog, allow_abbrev=False,
        description='Shows training samples as the model gets them, before and after the tricks: '
                    'the same images, the same seed.',
        epilog="Behind -- stand timm's flags; --tricks and --seed are two of them." if for_timm
               else "With timm's flags: browse timm --tricks NAME -- DATA --model NAME ...; exit "
                    'status 2, with one line on stderr, when something is wrong.')
    if not for_timm:
        parser.add_argument('config', help='config file, or PACKAGE::PATH of an installed zoo')
        add_config_arguments(parser)
        parser.add_argument('--seed', type=int, default=0,
                            help='which samples, and their draws (%(default)s)')
    parser.add_argument('--samples', type=int, default=8, metavar='N', help='(%(default)s)')
    parser.add_argument('--out', metavar='FILE_OR_DIR',
                        help='a .png, or a folder (default: browse_NAME.png, or browse_NAME/)')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--sheet', action='store_true', help='one contact sheet (the default)')
    form.add_argument('--folder', action='store_true',
                      help='a folder: a picture for each sample, and samples.json')
    parser.add_argument('--size', type=int, metavar='PX',
                        help=f'long side of a picture (default: {_SHEET_PX} in a sheet, '
                             f'{_FOLDER_PX} in a folder)')
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Loads, draws and writes.

    Args:
        argv: The words after the program's name; by default the process's. After ``timm`` as the
            first one, timm's flags are read.
        prog: The program's name in messages.

    Raises:
        TrickError: If the config, a trick, a flag, the data or a file is wrong.
    """
    args, flags, for_timm = parse_for_either(argv, prog, _parser)
    out, as_folder = _target(args, 'timm' if for_timm else config_name(args.config))
    size = args.size or (_FOLDER_PX if as_folder else _SHEET_PX)
    # Libraries that are imported while loading may print; stdout belongs to the report.
    with contextlib.redirect_stdout(sys.stderr):
        if for_timm:
            with needs_timm():
                from .browse_timm import pictures
            found = pictures(flags, args.samples, size)
        else:
            from .browse_config import pictures as config_pictures
            cfg = load_config(args.config, args.tricks, args.cfg_options)
            found = config_pictures(args.config, cfg, args.tricks, args.samples, args.seed, size)
    for line in _write(found, out, as_folder):
        print(line)
    return 0


def _target(args: argparse.Namespace, name: str) -> tuple[Path, bool]:
    """Where to write, and whether that is a folder."""
    if args.samples < 1:
        raise TrickError(f'--samples must be >= 1, got {args.samples}')
    if args.size is not None and not 64 <= args.size <= 4096:
        raise TrickError(f'--size must lie in [64, 4096], got {args.size}')
    if getattr(args, 'seed', 0) < 0:
        raise TrickError(f'--seed must be >= 0, got {args.seed}')
    if args.out is None:
        return Path(f'browse_{name}' if args.folder else f'browse_{name}.png'), args.folder
    out = Path(args.out)
    suffix = out.suffix.lower()
    if suffix == '.png' and not out.is_dir():
        if args.folder:
            raise TrickError(f'--folder writes into a folder, got --out {args.out}')
        return out, False
    if args.sheet or (suffix and not args.folder and not out.is_dir()):
        raise TrickError(f'--out must end in .png{"" if args.sheet else ", or name a folder"}, '
                         f'got {args.out}')
    if out.exists() and not out.is_dir():
        raise TrickError(f'--out must name a folder, got the file {args.out}')
    return out, True


def _write(found: Any, out: Path, as_folder: bool) -> list[str]:
    """Writes the pictures; returns what to say."""
    import json

    from ..common.files import write_bytes
    from ..pictures.sheet import png, sheet
    if as_folder:
        files = {out / f'{number:03d}.png': png(sheet(found.title, [row]))
                 for number, row in enumerate(found.rows)}
        files[out / 'samples.json'] = (json.dumps(found.record, indent=1) + '\n').encode()
    else:
        files = {out: png(sheet(found.title, found.sheet_rows(), found.lines))}
    try:
        for path, data in files.items():
            write_bytes(path, data)
    except OSError as error:
        raise TrickError(f'cannot write {error.filename or out}: {error.strerror}') from error
    return [found.title, *found.lines, f'Written: {out}{"/" if as_folder else ""}']
