"""Fills, shows and clears the cache of a config's images."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..plan.errors import TrickError
from .common import add_config_arguments, load_config

__all__ = ['main']


def _parser(prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="Fills, shows and clears the cache of a config's images: those of "
        'training and validation, kept in memory or on a local SSD for all processes of this node.')
    parser.add_argument('config', nargs='?',
                        help='config file, or PACKAGE::PATH of an installed zoo; without one, '
                             '--show and --clear look at the folder alone')
    add_config_arguments(parser)
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--show', action='store_true',
                        help='what the images need, and what the folder holds; changes nothing '
                             '(the default)')
    action.add_argument('--fill', action='store_true', help='read all images that fit, once')
    action.add_argument('--clear', action='store_true', help='drop every entry of the folder')
    parser.add_argument('--level', choices=('encoded', 'decoded'),
                        help='what is kept of each image (default: what the trick picks)')
    parser.add_argument('--folder', metavar='DIR', help='the folder of the cache')
    parser.add_argument('--budget-mb', type=int, metavar='N', help='its largest size in MB')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Does one of the three.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.

    Raises:
        TrickError: If the config or a trick is wrong, the images are not known, or the folder
            cannot be used.
    """
    args = _parser(prog).parse_args(argv)
    if args.budget_mb is not None and args.budget_mb < 1:
        raise TrickError(f'--budget-mb must be >= 1, got {args.budget_mb}')
    if args.config is None and args.fill:
        raise TrickError('--fill needs a config, got none')
    # Libraries that are imported meanwhile may print; stdout belongs to the answer.
    with contextlib.redirect_stdout(sys.stderr):
        words, told = _done(args)
    print(json.dumps(told, indent=2) if args.json else words)
    return 0


def _done(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Does what is asked for, and tells of it in words and in numbers."""
    reader = None if args.config is None else _reader(args)
    folder, budget = (args.folder, args.budget_mb) if reader is None else _place(reader[1])
    if not args.fill and not args.clear:
        return _shown(reader, folder, budget)
    store = _open(folder, budget)
    told: dict[str, Any] = {'folder': store.path}
    if args.clear:
        before = store.clear()
        told |= {'dropped': before.entries, 'dropped_bytes': before.used}
        return f'dropped {before.entries} entries, {before.used / 1e6:.6g} MB', told
    assert reader is not None
    words, more = _fill(*reader, store)
    holds, numbers = _held(store.path, store.usage())
    return words + holds, told | more | numbers


def _shown(
    reader: tuple[dict[str, Any], Any] | None, folder: str | None, budget: float | None,
) -> tuple[str, dict[str, Any]]:
    """What the images need and what the folder holds; makes and changes nothing."""
    from ..tricks.data_cache.folder import default_folder
    from ..tricks.data_cache.store import Usage, look
    from ..tricks.data_cache.survey import room_in
    place = os.path.abspath(folder or default_folder())
    try:
        found, room = look(place), room_in(place, budget)
    except OSError as error:
        raise TrickError(f'the cache cannot be used: {error}') from error
    now = Usage(0 if found is None else found.entries, 0 if found is None else found.used,
                room.budget, room.limit)
    words, more = ('', {}) if reader is None else _needs(*reader, room)
    holds, numbers = _held(place, now)
    return words + holds, {'folder': place} | more | numbers


def _held(place: str, now: Any) -> tuple[str, dict[str, Any]]:
    """What a folder holds, in words and in numbers."""
    full = '' if now.share == 1 else f'; it is full, {now.share:.1%} of the set fits'
    return (f'{place} holds {now.entries} entries, {now.used / 1e6:.6g} MB of '
            f'{now.budget / 1e6:.6g} MB{full}',
            {'entries': now.entries, 'bytes': now.used, 'budget': now.budget, 'fits': now.share})


def _reader(args: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """The plain effective config, and its transform that reads images through the cache."""
    from ..mm.apply import apply_tricks
    from ..mm.config_edit import plain
    from ..tricks.data_cache.images import readers
    cfg, _ = apply_tricks(load_config(args.config, args.tricks, args.cfg_options))
    wish = {key: value for key, value in (
        ('level', args.level), ('folder', args.folder), ('budget_mb', args.budget_mb))
        if value is not None}
    cached = [one for one in readers(plain(cfg)) if one.level]
    if cached and wish:
        raise TrickError(f'{cached[0].path} has its cache already: leave '
                         f'{", ".join("--" + key.replace("_", "-") for key in wish)} out, got '
                         f'{wish}')
    if not cached:
        cfg, plan = apply_tricks(cfg, {'data_cache': wish})
        cached = [one for one in readers(plain(cfg)) if one.level]
        if not cached:
            raise TrickError(f'{args.config}: {plan["data_cache"].reason}')
    tree = plain(cfg)
    found = next((one for one in cached if one.decodes or one.level == 'decoded'), cached[0])
    return tree, found


def _place(reader: Any) -> tuple[str | None, float | None]:
    own = reader.node.get('backend_args') or {}
    node = own if own.get('backend') == 'cached' else reader.node
    return node.get('folder'), node.get('budget_mb')


def _open(folder: str | None, budget: float | None) -> Any:
    from ..tricks.data_cache.folder import default_folder
    from ..tricks.data_cache.store import Store
    try:
        return Store(os.path.abspath(folder or default_folder()),
                     None if budget is None else int(budget * 1e6))
    except OSError as error:
        raise TrickError(f'the cache cannot be used: {error}') from error


def _files(tree: dict[str, Any]) -> Any:
    from mmengine.registry import init_default_scope

    from ..mm.config_edit import default_scope
    from ..tricks.data_cache.images import image_list
    init_default_scope(default_scope(tree))
    files = image_list(tree, largest=None)
    if isinstance(files, str):
        raise TrickError(f'the images are not known: {files}')
    return files


def _needs(tree: dict[str, Any], reader: Any, room: Any) -> tuple[str, dict[str, Any]]:
    """What the images need and what of it fits."""
    from ..tricks.data_cache.images import sampled
    try:
        needs = sampled(_files(tree), reader, room.folder)
    except TrickError:
        raise
    except Exception as error:  # the user's files and backends may raise anything
        raise TrickError(f'the images cannot be read: {type(error).__name__}: {error}') from error
    return (f'{needs.words()}\n{room.words(needs, reader.level)}\n',
            {'files': needs.files, 'encoded': needs.encoded, 'decoded': needs.decoded,
             'level': reader.level, 'share': room.fits(needs, reader.level)})


def _fill(tree: dict[str, Any], reader: Any, store: Any) -> tuple[str, dict[str, Any]]:
    """Reads the images in the order in which they are kept, as long as they fit."""
    from rich.console import Console
    from rich.progress import track

    from ..tricks.data_cache.filling import fill, loading
    files = [str(path) for path in _files(tree)]
    done = fill(files, loading(reader), store, lambda steps, total: track(
        steps, f'filling ({reader.level})', total, console=Console(stderr=True)))
    words = f'read {done.read} of {done.files} images'
    if done.failed:
        words += f'; {done.failed} could not be read, the first: {done.first_error}'
    return words + '\n', {'files': done.files, 'read': done.read, 'failed': done.failed,
                          'level': reader.level}
