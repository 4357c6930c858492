"""Counts the images that a split uses, those that it does not, and those in both splits."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from timm.data.readers.img_extensions import get_img_extensions

from ..plan.errors import TrickError

__all__ = ['check_apart', 'classes_of', 'tell']

_logger = logging.getLogger('tricks_plugin')
_SHOWN = 3


def classes_of(dataset: Any) -> dict[str, int]:
    """Class names to numbers, where the reader of a dataset has them."""
    reader = getattr(dataset, 'reader', None)
    found = getattr(reader, 'class_to_idx', None) or getattr(reader, 'class_name_to_idx', None)
    return dict(found) if isinstance(found, dict) else {}


def _samples(dataset: Any) -> list[tuple[str, int]] | None:
    """``(path, class number)`` of a folder's images; None for data of another kind."""
    samples = getattr(getattr(dataset, 'reader', None), 'samples', None)
    return samples if isinstance(samples, list) else None


def _real_paths(samples: Iterable[tuple[str, int]]) -> list[str]:
    """The images' paths with all links resolved; folders are resolved and listed once."""
    folders: dict[str, tuple[str, frozenset[str]]] = {}
    found = []
    for path, _ in samples:
        folder, name = os.path.split(path)
        if folder not in folders:
            with os.scandir(folder) as entries:
                links = frozenset(entry.name for entry in entries if entry.is_symlink())
            folders[folder] = os.path.realpath(folder), links
        real, links = folders[folder]
        found.append(os.path.realpath(path) if name in links else f'{real}{os.sep}{name}')
    return found


def check_apart(train: Any, val: Any, where: tuple[Path, Path]) -> None:
    """Refuses images that would be trained on and validated with.

    Args:
        train: The training dataset.
        val: The validation dataset.
        where: The folder or tar of each.

    Raises:
        TrickError: If a file, links resolved, is in both; the message counts and names one.
    """
    if where[0].resolve() == where[1].resolve():
        raise TrickError(f'--train-split and --val-split are the same images, {where[0].resolve()}')
    mine, theirs = _samples(train), _samples(val)
    if mine is None or theirs is None:
        return
    real = _real_paths(theirs)
    shared = set(real) & set(_real_paths(mine))
    if shared:
        raise TrickError(f'--train-split and --val-split share {len(shared)} of {len(set(real))} '
                         f'validation images, such as {min(shared)}: they would be trained on and '
                         'validated with')


def tell(split: str, dataset: Any, root: Path | None, input_key: str | None) -> None:
    """Logs a split's images and classes, and warns of what was left out.

    Args:
        split: Its name.
        dataset: The dataset.
        root: Its folder or tar; None for data of another kind.
        input_key: The file endings that are read, separated by semicolons; None for timm's.
    """
    classes, samples = classes_of(dataset), _samples(dataset)
    place = f' in {root}' if root is not None else ''
    words = f', {len(classes)} classes' if classes else ''
    images = f'{len(dataset)} images' if hasattr(dataset, '__len__') else 'a stream of images'
    _logger.info('%s: %s%s%s', split, images, words, place)
    if samples is None:
        return
    full = {number for _, number in samples}
    empty = sorted(name for name, number in classes.items() if number not in full)
    if empty:
        _logger.warning('%s: no image of %s', split, _some(empty, 'classes'))
    real = _real_paths(samples)
    if len(set(real)) < len(real):
        _logger.warning('%s: %d of the %d images are files that are there under another name too',
                        split, len(real) - len(set(real)), len(real))
    if root is not None and root.is_dir():
        endings = set(input_key.split(';')) if input_key else get_img_extensions(as_set=True)
        for line in _left_out(root, classes, endings):
            _logger.warning('%s: %s', split, line)


def _left_out(root: Path, classes: dict[str, int], endings: set[str]) -> list[str]:
    """A sentence for each reason why something in a split's folder is not used."""
    unmapped: Counter[str] = Counter()
    other: Counter[str] = Counter()
    homes: dict[str, list[str]] = {}
    bare, unreadable = [], []
    for folder, inner, files in os.walk(
            root, followlinks=True, onerror=lambda error: unreadable.append(str(error.filename))):
        kinds = Counter(os.path.splitext(name)[1].lower() for name in files)
        images = sum(count for kind, count in kinds.items() if kind in endings)
        label = '' if folder == str(root) else os.path.basename(folder)
        if images and label not in classes:
            unmapped[label] += images
        elif images:
            homes.setdefault(label, []).append(os.path.relpath(folder, root))
        other.update({kind: count for kind, count in kinds.items() if kind not in endings})
        if not images and not inner:
            bare.append(os.path.relpath(folder, root))
    lines = [f'{_some(sorted(places), "folders")} are one class, {label!r}, as only the last '
             'folder names it' for label, places in homes.items() if len(places) > 1]
    if '' in homes:
        lines.append("images that lie in no class folder are a class of their own, ''")
    if unmapped:
        lines.append(f'{unmapped.total()} images of {_some(sorted(unmapped), "folders")} are left '
                     'out, as the class map does not name them')
    if other:
        kinds_told = ', '.join(f'{count} {kind or "without an ending"}'
                               for kind, count in sorted(other.items()))
        lines.append(f'{other.total()} files are no images by their ending and are left out: '
                     f'{kinds_told}')
    if bare:
        lines.append(f'no image in {_some(sorted(bare), "folders")}')
    if unreadable:
        lines.append(f'{_some(sorted(unreadable), "folders")} cannot be read and are left out')
    return lines


def _some(names: list[str], kind: str) -> str:
    """``2 folders (a, b)``."""
    more = ', ...' if len(names) > _SHOWN else ''
    return f'{len(names)} {kind} ({", ".join(names[:_SHOWN])}{more})'
