"""How many of its images a data set keeps, of those that its annotation file lists."""

from __future__ import annotations

import dataclasses
import os
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from .config_edit import lookup_class, type_name
from .json_lists import MISSING, MOST, JsonText, read_once, top_lists

__all__ = ['Kept', 'filters', 'kept_images']

# What decides how many images mmdet's CocoDataset has. A class that changes none of it is counted.
_DECIDE = ('__init__', '_load_metainfo', 'full_init', 'load_data_list', 'parse_data_info',
           'filter_data', 'COCOAPI', '__len__')


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a data set keeps.

    Attributes:
        listed: Images that its file lists.
        images: Those that it keeps; None if not known.
        why: Why that is not known, or why it is none.
    """

    listed: int
    images: int | None = None
    why: str = ''


def filters(node: dict[str, Any], scope: str) -> bool:
    """Whether a data set may leave images out, by their size or as they hold no object.

    Args:
        node: A data set that has files of its own.
        scope: The registry scope of unscoped names.
    """
    if not (node.get('filter_cfg') or node.get('filter_empty_gt') is True):
        return False
    rule = getattr(_class(node, scope), 'filter_data', None)
    return rule is None or not (rule is _rule('mmengine.dataset.BaseDataset') or (
        node.get('test_mode') is True and rule is _rule('mmdet.datasets.CocoDataset')))


def kept_images(node: dict[str, Any], file: str, scope: str, listed: Callable[[], int]) -> Kept:
    """The images of a data set for which `filters` is true.

    Of mmdet's CocoDataset, and of what only names other classes, they are counted as its
    ``filter_data`` does; of others it is said that they are not.

    Args:
        node: The data set.
        file: Its annotation file.
        scope: The registry scope of unscoped names.
        listed: Counts what the file lists.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it cannot be counted.
    """
    classes, rule = _classes(node, scope), node.get('filter_cfg')
    kind, coco = _class(node, scope), lookup_class('mmdet.datasets.CocoDataset')
    if os.path.splitext(file)[1].lower() != '.json' or coco is None or any(
            _method(kind, name) is not _method(coco, name) for name in _DECIDE):
        return Kept(listed(), why=f'the rule of {type_name(node)} is not followed here')
    if classes is None or not isinstance(rule, dict):
        return Kept(listed(), why='its classes or its filter_cfg are given in a form that is not '
                                  'read here')
    empty, least = rule.get('filter_empty_gt', False), rule.get('min_size', 0)
    if not isinstance(least, (int, float)):
        return Kept(listed(), why=f'filter_cfg.min_size is {least!r}')
    found = read_once(_counted, file, classes, bool(empty), least)
    return found if found is not None else Kept(
        listed(), why=f'the file has more than {MOST >> 20} MB')


def _class(node: dict[str, Any], scope: str) -> Any:
    kind = node.get('type')
    return lookup_class(kind, scope) if isinstance(kind, str) else kind


def _rule(kind: str) -> Any:
    return getattr(lookup_class(kind), 'filter_data', MISSING)


def _method(kind: Any, name: str) -> Any:
    found = getattr(kind, name, None)
    return getattr(found, '__func__', found)  # a class method is another object of each class


def _classes(node: dict[str, Any], scope: str) -> tuple[str, ...] | None:
    """The classes whose images are kept; None if they are no list of names."""
    own, default = node.get('metainfo'), getattr(_class(node, scope), 'METAINFO', None)
    found = next((one['classes'] for one in (own, default)
                  if isinstance(one, dict) and 'classes' in one), None)
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
        return None
    return tuple(found)


def _counted(text: JsonText, size: int, classes: tuple[str, ...], empty: bool, least: float,
             ) -> Kept | None:
    """Reads a COCO file once; None if it is too large for that."""
    if size > MOST:
        return None
    file, seen = _CocoFile(least), set()
    for key in top_lists(text):
        if key in seen:
            raise ValueError(f'it has two lists named {key}')
        seen.add(key)
        if key == 'images':
            for image, width, height in text.entries('id', 'width', 'height'):
                file.add_image(image, width, height)
        elif key == 'annotations' and empty:
            for image, category in text.entries('image_id', 'category_id'):
                file.add_object(image, category)
        elif key == 'categories':
            for category, name in text.entries('id', 'name'):
                file.names.append((category, name))
        else:
            for _ in text.entries():
                pass
    if 'images' not in seen:
        raise ValueError('it holds no list named images')
    if empty and 'categories' not in seen:
        file.why = file.why or 'the file holds no list of categories'
    return file.kept(classes, empty)


class _CocoFile:
    """What of a COCO file decides which images are kept: 8 bytes an image, and a class of one.

    Args:
        least: The least side in px of an image.
    """

    def __init__(self, least: float) -> None:
        self.names: list[tuple[Any, Any]] = []
        self.why = ''
        self._least = least
        self._numbers: dict[Any, int] = {}  # of images whose ids are no integers of usual size
        self._categories: dict[Any, int] = {}
        self._images, self._large = array('q'), bytearray()
        self._objects, self._pending = np.empty(0, np.int64), array('q')

    def add_image(self, image: Any, width: Any, height: Any) -> None:
        if not all(isinstance(side, (int, float)) for side in (width, height)):
            self.why = self.why or 'an image in the file has no width and height'
            width = height = 0
        self._images.append(self._number(image))
        self._large.append(min(width, height) >= self._least)

    def add_object(self, image: Any, category: Any) -> None:
        if not isinstance(category, (int, str)):
            self.why = self.why or 'an annotation in the file has no category_id'
            return
        index = self._categories.setdefault(category, len(self._categories))
        if index >= 1 << 16:
            raise ValueError('it has more than 65536 categories')
        self._pending.append(self._number(image) << 16 | index)
        if len(self._pending) >= max(1 << 16, len(self._objects)):
            self._merge()

    def _number(self, image: Any) -> int:
        if type(image) is int and abs(image) < 1 << 45:
            return 2 * image
        if not isinstance(image, (int, str)):
            self.why = self.why or 'an image or annotation in the file has no id of an image'
            return 1
        return 2 * self._numbers.setdefault(image, len(self._numbers)) + 3

    def _merge(self) -> None:
        self._objects = np.unique(np.concatenate(
            [self._objects, np.frombuffer(self._pending, np.int64)]))
        self._pending = array('q')

    def kept(self, classes: tuple[str, ...], empty: bool) -> Kept:
        """What is left, by the rule of mmdet's ``CocoDataset.filter_data``."""
        listed = len(self._images)
        if self.why:
            return Kept(listed, why=self.why)
        # The last of several images with one id stands for them.
        last = np.frombuffer(self._images, np.int64)[::-1]
        images, first = np.unique(last, return_index=True)
        stays = np.frombuffer(self._large, np.uint8)[::-1][first] > 0
        if not empty:
            return _none_is_said(listed, int(stays.sum()),
                                 'none is as large as its filter_cfg asks')
        chosen = [category for category, name in self.names if not classes or name in classes]
        if not chosen and listed:
            return Kept(listed, 0, f'no category in the file is named {_some(classes)}')
        self._merge()
        of_these = np.isin(self._objects & 0xFFFF, [
            self._categories[one] for one in chosen if one in self._categories])
        stays &= np.isin(images, self._objects[of_these] >> 16)
        return _none_is_said(listed, int(stays.sum()),
                             'none is large enough and holds an object of its classes')


def _none_is_said(listed: int, images: int, why: str) -> Kept:
    return Kept(listed, images, '' if images or not listed else why)


def _some(names: tuple[str, ...]) -> str:
    shown = ', '.join(names[:3])
    return shown if len(names) <= 3 else f'{shown} or one of {len(names) - 3} more'
