"""The image files of a config, and the transforms that read files."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ...mm.config_edit import default_scope, find, get, is_a, lookup_class, type_name, walk
from .walks import files_below

__all__ = ['ImageList', 'Reader', 'image_list', 'readers', 'sampled']

_SECTIONS = ('train_dataloader.dataset', 'val_dataloader.dataset', 'custom_hooks')
_KINDS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
_LARGEST = 32_000_000  # bytes of annotations that a plan reads


@dataclasses.dataclass(frozen=True)
class Reader:
    """A transform that reads files.

    Attributes:
        path: Where it stands.
        node: Its dict in the config.
        decodes: Whether it is mmcv's LoadImageFromFile itself, whose arrays can be kept.
        level: The level at which it is cached already; empty if it is not.
        maps: Whether it reads maps of segments, not images.
    """

    path: str
    node: dict[str, Any]
    decodes: bool
    level: str
    maps: bool = False

    @property
    def inner(self) -> dict[str, Any] | None:
        """``backend_args`` of the source."""
        from .source import as_backend_args
        own = self.node.get('backend_args')
        if isinstance(own, dict):
            return own.get('inner') if own.get('backend') == 'cached' else own
        old = self.node.get('file_client_args')
        return as_backend_args(old) if isinstance(old, dict) else None


def readers(cfg: dict[str, Any]) -> list[Reader]:
    """The transforms of training and validation that read an image or a map from a file.

    Args:
        cfg: A plain config.
    """
    scope, found = default_scope(cfg), []
    for section in _SECTIONS:
        for path, node in find(get(cfg, section), 'LoadImageFromFile', 'LoadAnnotations',
                               'LoadPanopticAnnotations', path=section, scope=scope):
            if _reads(node, scope):
                found.append(Reader(path, node, _decodes(node, scope), _level(node),
                                    not is_a(node, 'LoadImageFromFile', scope=scope)))
    return found


def _reads(node: dict[str, Any], scope: str) -> bool:
    if is_a(node, 'LoadImageFromNDArray', scope=scope):
        return False
    if is_a(node, 'LoadImageFromFile', scope=scope):
        return _takes_backend(node, scope)
    maps = node.get('with_seg') or is_a(node, 'LoadPanopticAnnotations', scope=scope)
    return bool(maps) and _takes_backend(node, scope)


def _takes_backend(node: dict[str, Any], scope: str) -> bool:
    """Whether a class takes ``backend_args``; one that cannot be found is taken to."""
    kind = lookup_class(node['type'], scope)
    if kind is None:
        return True
    taken = inspect.signature(kind).parameters.values()
    return any(one.name == 'backend_args' or one.kind is one.VAR_KEYWORD for one in taken)


def _decodes(node: dict[str, Any], scope: str) -> bool:
    kind = lookup_class(node['type'], scope)
    return type_name(node) == 'LoadImageFromFile' and (
        kind is None or kind.__module__.startswith('mmcv.'))


def _level(node: dict[str, Any]) -> str:
    if type_name(node) == 'LoadCachedImage':
        return str(node.get('level', 'decoded'))
    own = node.get('backend_args')
    return 'encoded' if isinstance(own, dict) and own.get('backend') == 'cached' else ''


class ImageList(Sequence[str]):
    """The paths of images, by number; of several sets one after the other.

    Args:
        parts: mmengine's data sets, or lists of paths.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self._lengths = [len(one) for one in parts]

    def __len__(self) -> int:
        return sum(self._lengths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        for part, length in zip(self._parts, self._lengths, strict=True):
            if index < length:
                return part[index] if isinstance(part, list) else \
                    part.get_data_info(index)['img_path']
            index -= length
        raise IndexError('there is no such image')


def image_list(cfg: dict[str, Any], largest: int | None = _LARGEST) -> ImageList | str:
    """The image files of training and validation, or why they are not known, in a few words.

    Args:
        cfg: A plain config.
        largest: Of annotations of more bytes, the images below the image folder stand for those of
            the set, each once over all sets; None reads any.
    """
    scope, parts = default_scope(cfg), []
    for path, node in _datasets(cfg):
        annotations = _annotations(node)
        if annotations and not os.path.isfile(annotations):
            return f'{annotations} is not here'
        if largest is not None and annotations and os.path.getsize(annotations) > largest:
            part: Any = _folder_files(node) or f'{path}: {annotations} is too large for a plan'
        else:
            part = _built(node, path, scope)
        if isinstance(part, str):
            return part
        parts.append(part)
    parts = _each_once(parts)
    return ImageList(parts) if sum(map(len, parts)) else 'the config names no images'


def _each_once(parts: list[Any]) -> list[Any]:
    """Folders' lists without the files that another part has."""
    lists = [one for one in parts if isinstance(one, list)]
    others = [one for one in parts if not isinstance(one, list)]
    if not lists:
        return parts
    seen = {os.path.abspath(part.get_data_info(index)['img_path'])
            for part in others for index in range(len(part))}
    for part in lists:
        part[:] = [path for path in part if os.path.abspath(path) not in seen]
        seen.update(map(os.path.abspath, part))
    return parts


def _built(node: dict[str, Any], path: str, scope: str) -> Any:
    """A data set without its transforms, or why there is none."""
    kind = lookup_class(node['type'], scope)
    if kind is None:
        return f'{path} is of the unknown class {node["type"]}'
    settings = {key: value for key, value in node.items() if key not in ('type', 'lazy_init')}
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells its progress
            dataset = kind(**{**settings, 'pipeline': []})
        if len(dataset):
            dataset.get_data_info(0)['img_path']
    except Exception as error:  # the user's classes and files may raise anything
        text = ' '.join(str(error).split())
        return f'{path} gives no list of images ({type(error).__name__}: {text})'
    return dataset


def _folder_files(node: dict[str, Any]) -> list[str]:
    """The images below a data set's image folder."""
    prefix = node.get('data_prefix')
    name = next((prefix[key] for key in ('img', 'img_path') if key in prefix), '') \
        if isinstance(prefix, dict) else prefix
    root = node.get('data_root')
    folder = os.path.join(root if isinstance(root, str) else '',
                          name if isinstance(name, str) else '')
    return files_below(folder, _KINDS) or [] if folder else []


def _datasets(cfg: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The data sets that hold files, below any wrappers; equal ones once."""
    seen: list[dict[str, Any]] = []
    for section in _SECTIONS[:2]:
        for path, node in walk(get(cfg, section), section):
            plain = {key: value for key, value in node.items() if key != 'pipeline'}
            if 'type' in node and plain not in seen and \
                    {'ann_file', 'data_root', 'data_prefix'} & set(node):
                seen.append(plain)
                yield path, node


def _annotations(node: dict[str, Any]) -> str:
    name, root = node.get('ann_file'), node.get('data_root')
    if not isinstance(name, str) or not name or '://' in name:
        return ''
    return name if os.path.isabs(name) or not isinstance(root, str) else os.path.join(root, name)


def sampled(files: Sequence[str], loader: Reader, folder: str) -> Any:
    """What the files need, read and decoded as a loader does it.

    Args:
        files: Paths.
        loader: The transform that loads them.
        folder: The cache's, which may have some of them.

    Raises:
        Exception: What reading and decoding raise.
    """
    import mmcv

    from .files import is_kept
    from .loader import decoder_of
    from .source import Source
    from .survey import measure
    source = Source(loader.inner)
    flag = loader.node.get('color_type', 'color')
    how = loader.node.get('imdecode_backend', 'cv2')
    return measure(files, lambda path: source.backend(path).get(path),
                   lambda data: mmcv.imfrombytes(data, flag=flag, backend=how),
                   held=lambda path: {
                       level: is_kept(folder, source.known_by(level, path, *more)[0])
                       for level, more in (('encoded', ()),
                                           ('decoded', (flag, *decoder_of(how))))})
