"""Where the images of a split lie, and refusals where timm would take the whole folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from ..plan.errors import TrickError, did_you_mean

__all__ = ['check_names', 'find_split']

_SPLITS = (('train', 'training'), ('val', 'valid', 'validation', 'eval', 'evaluation', 'test'))
_TORCH = ('cifar10', 'cifar100', 'mnist', 'kmnist', 'fashion_mnist', 'qmnist')
_SHOWN = 8


def check_names(args: argparse.Namespace) -> None:
    """Refuses split names that timm reads as another split, for data of every kind.

    Args:
        args: timm's settings.

    Raises:
        TrickError: If training and validation have one name, or torchvision's data would be
            trained on its test images.
    """
    train, val = args.train_split, args.val_split
    if val and train == val:
        raise TrickError(f'--val-split must differ from --train-split, got {val!r} for both')
    prefix, _, name = args.dataset.lower().rpartition('/')
    if prefix != 'torch' or name not in _TORCH:
        return
    for flag, split, allowed in (('--train-split', train, _SPLITS[0]),
                                 ('--val-split', val, _SPLITS[1])):
        if split and split not in allowed:
            raise TrickError(f'{flag} must be one of {", ".join(allowed)} for {args.dataset}, '
                             f'got {split!r}{did_you_mean(split, allowed)}')


def find_split(args: argparse.Namespace, training: bool) -> Path:
    """The folder or tar with the images of a split: timm's rule, and ``SPLIT.tar`` beside it.

    A data folder without the split's folder is refused, where timm takes all of it. Class folders
    that are given directly, or one tar, train if validation is switched off explicitly.

    Args:
        args: timm's settings; class folders or tars, no ``dataset`` of another kind.
        training: Whether the training split is asked for.

    Raises:
        TrickError: If the split is not there; the message names what is.
    """
    flag, split = (('--train-split', args.train_split) if training
                   else ('--val-split', args.val_split))
    root = Path(args.data_dir or '')
    if args.data_dir is None or not root.exists():
        raise TrickError(f'--data-dir {args.data_dir} is not there')
    if root.is_dir():
        name, bracket, _ = split.partition('[')
        if bracket:
            raise TrickError(f'{flag} must be a name for class folders and tars, which have no '
                             f'slices, got {split!r}')
        found = _search(root, name)
        if found is not None and (found.resolve() != root.resolve() or not _split_names(root)):
            return found
    if not args.val_split and args.train_split in ('', *_SPLITS[0]) and not _split_names(root):
        return root
    raise TrickError(_missing(root, flag, split))


def _search(root: Path, name: str) -> Path | None:
    """A split's folder or tar, by its name or a synonym of it; timm has none for test."""
    synonyms = next((group for group in _SPLITS if name in group and name != 'test'), ())
    names = (name, *(other for other in synonyms if other not in (name, 'test')))
    folders = [root / other for other in names if other]
    for place in (*folders, *(Path(f'{folder}.tar') for folder in folders)):
        if place.is_dir() or (place.suffix == '.tar' and place.is_file()):
            return place
    return None


def _parts(root: Path) -> list[str]:
    """What a data folder holds that a split can be: folders, and tars without their ending."""
    if not root.is_dir():
        return []
    return sorted(path.stem if path.suffix == '.tar' else path.name for path in root.iterdir()
                  if path.is_dir() or path.suffix == '.tar')


def _split_names(root: Path) -> list[str]:
    """Those that are a split's name, in capitals or not."""
    known = {name for group in _SPLITS for name in group}
    return [name for name in _parts(root) if name.lower() in known]


def _missing(root: Path, flag: str, split: str) -> str:
    """The message on a split that is not there."""
    if not root.is_dir():
        return (f'{flag} must be a split of the data, and {root} is one tar: --val-split "" trains '
                f'on it without validation, got {split!r}')
    there, splits = _parts(root), _split_names(root)
    if there and not splits and split in ('', 'validation', *_SPLITS[0]):
        return (f'{flag} must be a folder or tar in {root}, which holds {_some(there)} and no '
                'splits, so that the same images would train and validate: put them into train/ '
                'and validation/, or train without validation by --val-split ""; '
                f'got {split!r}')
    hint = did_you_mean(Path(split).name.lower(), (name.lower() for name in splits or there))
    exact = {name.lower(): name for name in there}
    for lower, name in exact.items():
        hint = hint.replace(f'{lower!r}', f'{name!r}')
    synonyms = next((group for group in _SPLITS if Path(split).name.lower() in group), ())
    if not hint:
        hint = ''.join([f'; did you mean {exact[name]!r}?' for name in synonyms
                        if name in exact][:1])
    return (f'{flag} must be a folder or tar in {root}, which holds {_some(there)}, '
            f'got {split!r}{hint}')


def _some(names: Iterable[str]) -> str:
    """The first names in words."""
    names = list(names)
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return (', '.join(names[:_SHOWN]) or 'no folder and no tar') + more
