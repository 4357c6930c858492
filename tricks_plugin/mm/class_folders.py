"""The images in class folders, as mmpretrain's CustomDataset and its kin find them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from .config_edit import lookup_class, type_name

__all__ = ['annotation_file', 'count_folder_images', 'finds_folders', 'image_folder']

_SPLIT = ('ImageNet', 'ImageNet21k')
_NAMES = ('CustomDataset', 'Places205', *_SPLIT)
_SCOPES = ('mmpretrain', 'mmcls')
_ENDINGS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')  # mmpretrain's
_MOST = 2_000_000  # files that a plan counts: ImageNet, and not ImageNet21k


def finds_folders(node: dict[str, Any], scope: str) -> bool:
    """Whether a data set is of a class that finds its images by itself; no class derived from it.

    Args:
        node: The data set in a plain config.
        scope: The registry scope of unscoped names.
    """
    if type_name(node) not in _NAMES:
        return False
    kind = lookup_class(node['type'], scope)
    if kind is not None:
        return str(kind.__module__).split('.')[0] in _SCOPES
    own, dot, _ = node['type'].partition('.')
    return (own if dot else scope) in _SCOPES


def annotation_file(node: dict[str, Any]) -> str:
    """The list of images that stands in for ``ann_file`` where a config gives none, or empty."""
    split = _split(node)
    name = os.path.join('meta', f'{split}.txt')
    return name if split and os.path.exists(os.path.join(_root(node), name)) else ''


def image_folder(node: dict[str, Any]) -> str:
    """The folder that holds the class folders.

    Raises:
        ValueError: If the config does not say it as mmpretrain reads it.
    """
    prefix = node.get('data_prefix', '')
    if isinstance(prefix, dict):
        prefix = prefix.get('img_path')
    else:
        prefix = (prefix or _split(node)) if isinstance(prefix, str) else None
    if not isinstance(prefix, str):
        raise ValueError(f'data_prefix names no folder, got {node.get("data_prefix")!r}')
    folder = os.path.join(_root(node), os.path.expanduser(prefix)) if prefix else _root(node)
    if not folder:
        raise ValueError('data_root and data_prefix name no folder')
    return folder


def count_folder_images(node: dict[str, Any]) -> int:
    """Counts the images in the class folders, or in all folders where there are no labels.

    Raises:
        OSError: If a folder cannot be read.
        ValueError: If there is no image in them, or more than a plan counts.
    """
    folder, endings = image_folder(node), node.get('extensions', _ENDINGS)
    endings = tuple(one.lower() for one in endings)
    labelled = node.get('with_label', True) and _split(node) != 'test'
    with os.scandir(folder) as entries:
        places = [entry.path for entry in entries if entry.is_dir()] if labelled else [folder]
    count = 0
    for place in places:
        count += sum(name.lower().endswith(endings) for name in _files(place))
        if count > _MOST:
            raise ValueError(f'it holds more than the {_MOST} files that a plan counts')
    if not count:
        raise ValueError(f'it holds no file that ends in {", ".join(endings)}')
    return count


def _split(node: dict[str, Any]) -> str:
    return str(node.get('split') or '') if type_name(node) in _SPLIT else ''


def _root(node: dict[str, Any]) -> str:
    return str(node.get('data_root') or '')


def _files(folder: str) -> Iterator[str]:
    """The names of the files at any depth below a folder; hidden ones are left out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith('.') and entry.is_file():
                yield entry.name
            elif entry.is_dir():
                yield from _files(entry.path)
