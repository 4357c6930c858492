"""How many images a config's training set holds, from its annotation files or class folders."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

from .class_folders import (
    annotation_file,
    count_folder_images,
    finds_folders,
    image_folder,
)
from .config_edit import is_a, type_name
from .image_filter import Kept, filters, kept_images
from .json_lists import list_length

__all__ = ['ImageCount', 'count_images', 'epoch_iterations']

_LOCAL = ('local', 'cached')  # backends whose paths are files here
# Of COCO's form and of mmengine's own.
_LISTS = ('images', 'data_list')
# Data sets whose annotation file has an image in each line.
_LINES = ('XMLDataset', 'CustomDataset', 'ImageNet')


@dataclasses.dataclass(frozen=True)
class ImageCount:
    """What a data set holds.

    Attributes:
        images: Images; None if they could not be counted.
        samples: Samples of an epoch; None if not known.
        why: Why one of the two is not known.
        at_most: Where the samples are not known as the data set leaves images out: what they would
            be if it left none out.
        listed: The same of the images.
    """

    images: int | None = None
    samples: int | None = None
    why: str = ''
    at_most: int | None = None
    listed: int | None = None


def count_images(node: Any, path: str, scope: str) -> ImageCount:
    """Counts the images of a data set through its wrappers, without building it.

    Args:
        node: The data set in a plain config.
        path: Where it stands.
        scope: The registry scope of unscoped names.
    """
    if not isinstance(node, dict) or 'type' not in node:
        return ImageCount(why=f'{path} is no data set with a type')
    if isinstance(node.get('dataset'), dict):
        return _wrapped(node, count_images(node['dataset'], f'{path}.dataset', scope), path, scope)
    parts = node.get('datasets')
    if isinstance(parts, (list, tuple)) and parts:
        counts = [count_images(part, f'{path}.datasets[{index}]', scope)
                  for index, part in enumerate(parts)]
        why = next((one.why for one in counts if one.why), '')
        if not is_a(node, 'ConcatDataset', scope=scope):
            counts = [dataclasses.replace(one, samples=None, at_most=None) for one in counts]
            why = why or _other_wrapper(node, path)
        images, samples = (_sum(getattr(one, name) for one in counts)
                           for name in ('images', 'samples'))
        return ImageCount(
            images, samples, why, None if samples is not None else _sum(
                one.at_most if one.samples is None else one.samples for one in counts),
            None if images is not None else _sum(
                one.listed if one.images is None else one.images for one in counts))
    return _leaf(node, path, scope)


def _wrapped(node: dict[str, Any], inner: ImageCount, path: str, scope: str) -> ImageCount:
    """What a wrapper of one data set makes of it."""
    if is_a(node, 'RepeatDataset', scope=scope):
        samples, at_most = (None if count is None or not isinstance(node.get('times'), int) else
                            count * node['times'] for count in (inner.samples, inner.at_most))
        return dataclasses.replace(inner, samples=samples, at_most=at_most)
    if is_a(node, 'MultiImageMixDataset', scope=scope):
        return inner
    if inner.why:
        return dataclasses.replace(inner, at_most=None)
    if is_a(node, 'ClassBalancedDataset', scope=scope):
        return ImageCount(inner.images, None, f'{path} is {type_name(node)}, which repeats images '
                          'by how rare their classes are')
    return ImageCount(inner.images, None, _other_wrapper(node, path))


def _other_wrapper(node: dict[str, Any], path: str) -> str:
    return f'{path} is {type_name(node)}, which may repeat images or leave some out'


def _sum(values: Any) -> int | None:
    values = list(values)
    return None if None in values else sum(values)


def _leaf(node: dict[str, Any], path: str, scope: str) -> ImageCount:
    """The images of a data set that has files of its own."""
    name, root = (os.fspath(value) if isinstance(value, os.PathLike) else value
                  for value in (node.get('ann_file'), node.get('data_root')))
    backend = next((own.get('backend', 'local') for own in (
        node.get('backend_args'), node.get('file_client_args')) if isinstance(own, dict)), 'local')
    if not name and finds_folders(node, scope):
        name = annotation_file(node)
        if not name:
            return _in_folders(node, path, scope)
    if not name:
        return ImageCount(why=f'{path} names no annotation file')
    if not isinstance(name, str):
        return ImageCount(why=f'{path}.ann_file is a {type(name).__name__}, and what its data set '
                          'makes of that is not known')
    if node.get('split_file'):  # RefCocoDataset's, whose annotation file lists every split
        return ImageCount(why=f'{path}.split_file picks the images of a split')
    if '://' in name or (isinstance(root, str) and '://' in root) or backend not in _LOCAL:
        return ImageCount(why=f'{path}.ann_file is no local file')
    file = os.path.join(root, name) if isinstance(root, str) and not os.path.isabs(name) else name
    if is_a(node, 'BaseVideoDataset', scope=scope):
        return ImageCount(why=f'{path} is {type_name(node)}, whose samples are clips of videos')
    return _counted(node, path, file, scope, lambda: _entries(node, file, scope))


def _counted(node: dict[str, Any], path: str, source: str, scope: str,
             listed: Callable[[], int]) -> ImageCount:
    """The images that a data set keeps of those in a file or folder.

    Args:
        node: The data set.
        path: Where it stands.
        source: The file or folder.
        scope: The registry scope of unscoped names.
        listed: Counts what the source lists.
    """
    try:
        if filters(node, scope):
            return _kept(node, path, source, kept_images(node, source, scope, listed))
        count = _picked(listed(), node.get('indices'))
    except FileNotFoundError:
        return ImageCount(why=f'{source} is not here')
    except (OSError, ValueError) as error:
        return ImageCount(why=f'{source} was not counted: {" ".join(str(error).split())}')
    return ImageCount(count, count)


def _kept(node: dict[str, Any], path: str, source: str, found: Kept) -> ImageCount:
    """The count of a data set that filters its images, which ``indices`` picks from after."""
    at_most = _picked(found.listed, node.get('indices'))
    if found.images is None:
        return ImageCount(at_most=at_most, listed=at_most, why=(
            f'{source} lists {found.listed} images, and how many of them {path} leaves out is not '
            f'known ({found.why})'))
    if found.why:
        return ImageCount(0, at_most=at_most, why=(
            f'{path} leaves out all {found.listed} images of {source}: {found.why}'))
    count = _picked(found.images, node.get('indices'))
    return ImageCount(count, count)


def _in_folders(node: dict[str, Any], path: str, scope: str) -> ImageCount:
    """The images of a data set whose folders are its classes."""
    try:
        folder = image_folder(node)
    except ValueError as error:
        return ImageCount(why=f'{path}.{error}')
    if '://' in folder:
        return ImageCount(why=f'{folder} is no local folder')
    return _counted(node, path, folder, scope, lambda: count_folder_images(node))


def _entries(node: dict[str, Any], file: str, scope: str) -> int:
    """The images that an annotation file lists.

    Raises:
        OSError: If it cannot be read.
        ValueError: If its format is not known.
    """
    kind = os.path.splitext(file)[1].lower()
    if kind == '.json':
        return list_length(file, _LISTS)
    if kind == '.odgt' or (kind == '.txt' and is_a(node, *_LINES, scope=scope)):
        with open(file, 'rb') as lines:
            return sum(1 for line in lines if line.strip())
    os.stat(file)
    raise ValueError(f'the format of {type_name(node)} is not known here')


def _picked(count: int, indices: Any) -> int:
    """How many of them mmengine's ``indices`` leaves."""
    if isinstance(indices, int) and not isinstance(indices, bool):
        return min(abs(indices), count)
    return len(indices) if isinstance(indices, (list, tuple)) else count


def epoch_iterations(samples: int, batch_size: int, processes: int, drop_last: bool) -> int:
    """Iterations of an epoch whose samples are spread evenly over the processes, rounded up."""
    each = math.ceil(samples / processes)
    return each // batch_size if drop_last else math.ceil(each / batch_size)
