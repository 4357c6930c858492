"""timm's readers behind the cache."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from ...common.waiting.cache import Cache
from .files import is_kept
from .folder import default_folder
from .keeper import keeper
from .keys import entry_name
from .stamps import stamp_of_file
from .survey import Needs, Room, measure, room_in, together

__all__ = ['CachedReader', 'cache_images', 'cache_together', 'decoder', 'levels_held', 'needs_of',
           'reader_files']

_logger = logging.getLogger('tricks_plugin')
_PNM = {'RGB': b'P6', 'L': b'P5'}


def _place(reader: Any, index: int) -> tuple[str, str, Any]:
    """A sample's file on disk, its name within that, and its target.

    Raises:
        TypeError: If the reader is of an unknown kind.
    """
    kind = type(reader).__name__
    if kind == 'ReaderImageFolder':
        path, target = reader.samples[index]
        return os.path.abspath(path), '', target
    if kind == 'ReaderImageInTar':
        info, parent, child = reader.samples[index]
        tar = os.path.join(reader.root, parent) if parent else reader.root
        within = f'{child.name if child is not None else ""}:{info.path}:{info.offset_data}'
        return os.path.abspath(tar), within, reader.targets[index]
    if kind == 'ReaderImageTar':
        info, target = reader.samples[index]
        return os.path.abspath(reader.root), f'{info.path}:{info.offset_data}', target
    raise TypeError(f'{kind} gives no files')


def _name(level: str, path: str, within: str, mode: str) -> str:
    """What the cache calls a sample, by its file on disk, its name within that, and PIL's mode."""
    return entry_name('timm', level, path, within,
                      *((mode, _pil_version()) if level == 'decoded' else ()))


def levels_held(folder: str, path: str, within: str, mode: str) -> dict[str, bool]:
    """At which levels a cache's folder has a sample, of whatever state of its file.

    Args:
        folder: The cache's.
        path: The absolute path of the sample's file, or of the tar that holds it.
        within: Its name within a tar.
        mode: PIL's mode to which the data set converts.
    """
    return {level: is_kept(folder, _name(level, path, within, mode))
            for level in ('encoded', 'decoded')}


class CachedReader:
    """A reader of timm's that opens its files through the cache; all else is the reader's.

    Args:
        reader: timm's reader of class folders or tars.
        level: ``encoded`` keeps the bytes of the files; ``decoded`` keeps the pixels, which PIL
            then reads as an image without compression.
        mode: PIL's mode to which the data set converts; ``decoded`` needs RGB or L.
        folder: See `tricks_plugin.tricks.data_cache.keeper.Keeper`.
        budget_mb: See there.

    Raises:
        ValueError: If the level is unknown, or the mode is none that can be decoded.
    """

    def __init__(self, reader: Any, level: str = 'encoded', mode: str = 'RGB',
                 folder: str | None = None, budget_mb: float | None = None) -> None:
        if level not in ('encoded', 'decoded'):
            raise ValueError(f"level must be 'encoded' or 'decoded', got {level!r}")
        if level == 'decoded' and mode not in _PNM:
            raise ValueError(f'mode must be RGB or L to be kept decoded, got {mode!r}')
        self.reader = reader
        self.level = level
        self._mode = mode
        self._keeper = keeper(folder, budget_mb)

    def __getitem__(self, index: int) -> tuple[io.BytesIO, Any]:
        path, within, target = _place(self.reader, index)
        name = _name(self.level, path, within, self._mode)
        data = self._keeper.fetch(name, lambda: stamp_of_file(path), lambda: self._read(index))
        return io.BytesIO(data), target

    def cache_now(self) -> Cache:
        """The cache as this run has it."""
        return self._keeper.now(self.level)

    def _read(self, index: int) -> bytes:
        with self.reader[index][0] as file:
            data = file.read()
        return data if self.level == 'encoded' else _as_pnm(data, self._mode)

    def __len__(self) -> int:
        return len(self.reader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'reader':
            raise AttributeError(name)
        return getattr(self.reader, name)


def _as_pnm(data: bytes, mode: str) -> bytes:
    """An image without compression: a header and its pixels."""
    from PIL import Image
    with Image.open(io.BytesIO(data)) as file:
        image = file.convert(mode)
    return b'%s %d %d 255\n' % (_PNM[mode], *image.size) + image.tobytes()


def _pil_version() -> str:
    import PIL
    return str(PIL.__version__)


def reader_files(reader: Any) -> str:
    """Why a reader's images cannot be cached, in a few words; empty if they can."""
    try:
        _place(reader, 0)
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        return f'{type(reader).__name__}: {error}'
    return ''


def needs_of(reader: Any, mode: str, folder: str, sample: int = 24) -> Needs:
    """What a reader's images need, measured on a sample; raises what reading them raises."""
    def read(index: int) -> bytes:
        with reader[index][0] as file:
            return bytes(file.read())

    return measure(range(len(reader)), read, decoder(mode), sample,
                   lambda index: levels_held(folder, *_place(reader, index)[:2], mode))


def decoder(mode: str) -> Callable[[bytes], Any]:
    """From a file's bytes to its pixels, with ``nbytes``; of a mode that is not kept, as RGB."""
    import numpy as np

    return lambda data: np.frombuffer(_as_pnm(data, mode if mode in _PNM else 'RGB'), np.uint8)


def pick_level(level: str, needs: Needs, room: Room, mode: str) -> str:
    """``encoded`` or ``decoded``; for ``auto`` the latter where all of it fits."""
    if mode not in _PNM:
        return 'encoded'
    if level == 'auto':
        return 'decoded' if room.fits(needs, 'decoded') == 1 else 'encoded'
    return level


def cache_images(dataset: Any, level: str = 'auto', folder: str | None = None,
                 budget_mb: float | None = None) -> str:
    """Puts the cache between a timm data set and its files, in place, and logs what fits.

    Args:
        dataset: timm's ImageDataset.
        level: ``encoded``, ``decoded``, or ``auto``: the latter where all of it fits.
        folder: The cache's folder; None for the user's own on this node.
        budget_mb: Its largest size in MB of 10^6 bytes; None for its own, or a default.

    Returns:
        The level; empty where the data set's images cannot be cached, which is logged.
    """
    return cache_together([dataset], level, folder, budget_mb)[0]


def cache_together(datasets: Sequence[Any], level: str = 'auto', folder: str | None = None,
                   budget_mb: float | None = None) -> list[str]:
    """As `cache_images`, for data sets that share the folder: the level follows from them all.

    Returns:
        The level of each.
    """
    found = {}
    for number, dataset in enumerate(datasets):
        trouble = reader_files(getattr(dataset, 'reader', None))
        if trouble:
            _logger.warning('data_cache: the images are not cached: %s', trouble)
        else:
            found[number] = '' if getattr(dataset, 'load_bytes', False) else \
                getattr(dataset, 'input_img_mode', '') or ''
    place, levels = folder or default_folder(), [''] * len(datasets)
    if not found:
        return levels
    room = room_in(place, budget_mb)
    try:
        needs = together([needs_of(datasets[number].reader, mode, place)
                          for number, mode in found.items()])
        for number, mode in found.items():
            levels[number] = pick_level(level, needs, room, mode)
        for picked in dict.fromkeys(filter(None, levels)):
            _logger.info('data_cache: %s; %s', needs.words(), room.words(needs, picked))
    except Exception as error:  # damaged files; the training will say more
        levels = ['encoded' if number in found else '' for number in range(len(datasets))]
        _logger.warning('data_cache: what the images need is not known: %s', error)
    for number, mode in found.items():
        dataset = datasets[number]
        dataset.reader = CachedReader(dataset.reader, levels[number], mode or 'RGB', folder,
                                      budget_mb)
    return levels
