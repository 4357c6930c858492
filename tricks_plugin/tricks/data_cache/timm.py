"""The cache as settings of this package's trainer; timm's own script has none."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ...plan import RunFacts, TimmFlags, TrickError
from .folder import default_folder
from .survey import Needs, Room, measure, room_in, size, slow_source
from .walks import files_below

__all__ = ['Flags']

_SECONDS = 20.0  # that a plan counts files of a split
_KINDS = ('.png', '.jpg', '.jpeg')  # timm's


class Flags(TimmFlags):
    """``--data-cache``, ``--data-cache-folder`` and ``--data-cache-mb``."""

    main = 'data_cache'

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Caches class folders and tars."""
        if args.get('dataset'):
            return f'--dataset {args["dataset"]} is read by its own library, which gives no files'
        params = self.params
        wanted = {'data_cache': params.level or 'auto', 'data_cache_folder': params.folder,
                  'data_cache_mb': params.budget_mb}
        return {key: value for key, value in wanted.items() if value is not None}

    def pays(self, args: dict[str, Any], facts: RunFacts) -> str | None:
        """Measures on a sample what would fit, and asks whether the source is slow."""
        params = self.params
        return _against(args, room_in(params.folder or default_folder(), params.budget_mb)) or None

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """What the images of training and validation need and what of it fits."""
        room = room_in(after.get('data_cache_folder') or default_folder(),
                       after.get('data_cache_mb'))
        files = _files(after)
        if not files:
            return f'what the set needs is not known before it is read; the budget of ' \
                   f'{room.folder} is {size(room.budget)}'
        needs = _needs(files, after, room.folder)
        if needs is None:
            return ''
        level = after['data_cache']
        if level == 'auto':
            level = 'decoded' if room.fits(needs, 'decoded') == 1 else 'encoded'
        return f'images: {needs.words()}; {room.words(needs, level)}'

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """Reads from the cache, where the flag asks for one."""
        if not args.get('data_cache') or args.get('dataset'):
            return None
        return {'level': args['data_cache'], 'folder': args.get('data_cache_folder')}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With ``data_cache``."""
        return bool(args.get('data_cache'))


def _files(args: dict[str, Any]) -> list[str]:
    """The images in class folders; empty if they take too long to count, or lie in tars."""
    from ...timm.splits import find_split
    settings = argparse.Namespace(
        **{**args, 'data_dir': args.get('data_dir') or args.get('data')})
    found: list[str] = []
    for training in (True, False):
        try:
            part = files_below(find_split(settings, training), _KINDS, _SECONDS)
        except (TrickError, AttributeError):
            part = []
        if part is None or training and not part:
            return []
        found += part
    return sorted(found)


def _needs(files: list[str], args: dict[str, Any], folder: str) -> Needs | None:
    from .reader import decoder, levels_held
    channels = (args.get('input_size') or [args.get('in_chans') or 3])[0]
    mode = args.get('input_img_mode') or ('RGB' if channels == 3 else 'L')
    try:
        return measure(files, lambda path: Path(path).read_bytes(), decoder(mode),
                       held=lambda path: levels_held(folder, os.path.abspath(path), '', mode))
    except Exception:  # damaged files; the training will say more
        return None


def _against(args: dict[str, Any], room: Room) -> str:
    """Why the cache would bring little; empty where it brings something."""
    files = _files(args)
    needs = _needs(files, args, room.folder) if files else None
    if needs is None:
        return 'what the training images need could not be measured before the run'
    if room.fits(needs, 'decoded') == 1 or (
            slow_source(files[0]) and room.fits(needs, 'encoded') >= 0.25):
        return ''
    return f'{needs.words()}; {room.words(needs, "encoded")}, from storage not known to be slow'
