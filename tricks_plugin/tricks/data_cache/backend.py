"""The storage backend ``cached`` of mmengine's file I/O."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmengine.fileio import (
    BaseStorageBackend,
    FileClient,
    LocalBackend,
    get_file_backend,
    register_backend,
)

from .keeper import UNCHANGING, Stamp, keeper, stamp_of_file
from .keys import entry_name

__all__ = ['CachedBackend', 'as_backend_args', 'inner_backend', 'name_and_stamp']


def as_backend_args(file_client_args: dict[str, Any]) -> dict[str, Any] | None:
    """The deprecated ``file_client_args`` of mmengine as ``backend_args``."""
    args = {key: value for key, value in file_client_args.items() if key != 'prefix'}
    if args.get('backend') == 'disk':
        args['backend'] = 'local'
    return args or None


def inner_backend(path: str | Path, inner: dict[str, Any] | None) -> Any:
    """The backend that reads a path: the given one, or mmengine's by the path's prefix."""
    return get_file_backend(path, backend_args=inner, enable_singleton=True)


def name_and_stamp(
    level: str, path: str | Path, inner: dict[str, Any] | None, *more: Any,
) -> tuple[str, Any]:
    """What a cache calls a file, and how to ask for the state of the source.

    Args:
        level: ``encoded`` or ``decoded``.
        path: The file.
        inner: Settings of the backend that reads it; None for mmengine's choice by the prefix.
        more: Plain values on which the content depends beside the file.

    Returns:
        ``(name, stamp)``; the latter is a function.
    """
    backend = inner_backend(path, inner)
    if isinstance(backend, LocalBackend):
        local = os.path.abspath(path)
        return entry_name(level, type(backend).__name__, local, *more), \
            lambda: stamp_of_file(local)
    name = entry_name(level, type(backend).__name__, inner, str(path), *more)
    database = (inner or {}).get('db_path')
    if isinstance(database, (str, os.PathLike)) and os.path.exists(database):
        data = os.path.join(database, 'data.mdb') if os.path.isdir(database) else database
        return name, lambda: stamp_of_file(data)
    return name, lambda: _told(backend, path)


def _told(backend: Any, path: str | Path) -> Stamp:
    """The state as a backend's own ``stat`` tells it, where it has one."""
    if not hasattr(backend, 'stat'):
        return UNCHANGING
    found = backend.stat(path)
    modified = getattr(found, 'st_mtime_ns', None) or int(found.st_mtime * 1e9)
    return Stamp(int(found.st_size), modified, getattr(found, 'st_ctime_ns', 0))


@FileClient.register_backend('cached')  # for file_client_args, which are on their way out
@register_backend('cached')
class CachedBackend(BaseStorageBackend):
    """Reads files through a cache on this node, and answers all else as the inner backend does.

    A local file is known by its path, size and time of change, so that a changed one is read
    afresh. Other backends tell no such time, unless they have a method ``stat`` like `os.stat`:
    what they gave once is given again, until the folder is cleared.

    Args:
        inner: ``backend_args`` of the backend to read with; by default mmengine's choice by the
            path's prefix, which is ``local`` for a plain path.
        folder: The cache's folder; by default the user's own on this node.
        budget_mb: The folder's largest size, in MB of 10^6 bytes.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the budget is not above 0, or the inner backend is a cache itself.
    """

    def __init__(self, inner: dict[str, Any] | None = None, folder: str | None = None,
                 budget_mb: float | None = None) -> None:
        if inner is not None and not isinstance(inner, dict):
            raise TypeError(f'inner must be the backend_args of a backend, got {inner!r}')
        if inner is not None and inner.get('backend') == 'cached':
            raise ValueError(f'inner must be a backend that reads, got {inner!r}')
        self.inner = None if inner is None else dict(inner)
        self.keeper = keeper(folder, budget_mb)
        if self.inner and 'backend' in self.inner:
            self._allow_symlink = getattr(self._at(''), '_allow_symlink', False)
        else:
            self._allow_symlink = LocalBackend._allow_symlink

    def name_of(self, path: str | Path) -> str:
        """What the cache calls a file."""
        return str(name_and_stamp('encoded', path, self.inner)[0])

    def load(self, path: str | Path) -> None:
        """Reads a file, so that it is kept."""
        self.get(path)

    def _at(self, path: Any) -> Any:
        return inner_backend(path, self.inner)

    def get(self, filepath: str | Path) -> bytes:
        """The bytes of a file, from the cache where it has them."""
        name, stamp = name_and_stamp('encoded', filepath, self.inner)
        return self.keeper.fetch(name, stamp, lambda: _as_bytes(self._at(filepath).get(filepath)))

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        """The text of a file; from a local one with its line ends as `open` gives them."""
        data = self.get(filepath)
        if isinstance(self._at(filepath), LocalBackend):
            return io.TextIOWrapper(io.BytesIO(data), encoding=encoding).read()
        return str(data, encoding)

    def exists(self, filepath: str | Path) -> bool:
        """Whether the source has the path."""
        return self._at(filepath).exists(filepath)

    def isdir(self, filepath: str | Path) -> bool:
        """Whether the path is a folder of the source."""
        return self._at(filepath).isdir(filepath)

    def isfile(self, filepath: str | Path) -> bool:
        """Whether the path is a file of the source."""
        return self._at(filepath).isfile(filepath)

    def join_path(self, filepath: str | Path, *filepaths: str | Path) -> str | Path:
        """The paths joined as the source joins them."""
        return self._at(filepath).join_path(filepath, *filepaths)

    def list_dir_or_file(self, dir_path: str | Path, *args: Any, **kwargs: Any) -> Iterator[str]:
        """What lies in a folder of the source."""
        return self._at(dir_path).list_dir_or_file(dir_path, *args, **kwargs)

    def get_local_path(self, filepath: str | Path) -> AbstractContextManager[str | Path]:
        """A local file with the content, as the source gives it."""
        return self._at(filepath).get_local_path(filepath)

    def __getattr__(self, name: str) -> Any:
        """Everything else, such as writing: a method of the inner backend of its first path."""
        if name.startswith('_') or not hasattr(
                LocalBackend if not self.__dict__.get('inner') else self._at(''), name):
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}')
        place = 1 if name in ('put', 'put_text') else 0

        def call(*args: Any, **kwargs: Any) -> Any:
            path = args[place] if len(args) > place else kwargs.get(
                'filepath', next(iter(kwargs.values()), ''))
            try:
                return getattr(self._at(path), name)(*args, **kwargs)
            finally:
                if name in ('put', 'put_text', 'remove'):
                    self.keeper.forget(self.name_of(path))
        return call


def _as_bytes(data: Any) -> bytes:
    """Some backends give memoryviews."""
    return data if isinstance(data, bytes) else bytes(data)
