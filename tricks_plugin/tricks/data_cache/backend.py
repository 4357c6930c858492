"""The storage backend ``cached`` of mmengine's file I/O."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmengine.fileio import BaseStorageBackend, FileClient, LocalBackend, register_backend

from ...common.waiting.cache import Cache
from .keeper import keeper
from .source import Source, say

__all__ = ['CachedBackend']


@FileClient.register_backend('cached')  # for file_client_args, which are on their way out
@register_backend('cached')
class CachedBackend(BaseStorageBackend):
    """Reads files through a cache on this node, and answers all else as the inner backend does.

    A local file is known by its path, size and time of change, so that a changed one is read
    afresh, whatever backend reads it; so is a local file that ``inner`` names, such as an archive.
    Of all else no such time is known, unless the backend has a method ``stat`` like `os.stat`: what
    it gave once is given again, until the folder is cleared.

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
        self.source = Source(inner)
        self.inner = self.source.inner
        self.keeper = keeper(folder, budget_mb, say)
        if self.inner and 'backend' in self.inner:
            self._allow_symlink = getattr(self._at(''), '_allow_symlink', False)
        else:
            self._allow_symlink = LocalBackend._allow_symlink

    def name_of(self, path: str | Path) -> str:
        """What the cache calls a file."""
        return self.source.known_by('encoded', path)[0]

    def cache_now(self) -> Cache:
        """The cache as this run has it."""
        return self.keeper.now('encoded')

    def load(self, path: str | Path) -> None:
        """Reads a file, so that it is kept."""
        self.get(path)

    def _at(self, path: Any) -> Any:
        return self.source.backend(path)

    def get(self, filepath: str | Path) -> bytes:
        """The bytes of a file, from the cache where it has them."""
        name, stamp = self.source.known_by('encoded', filepath)
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


def _as_bytes(data: Any) -> bytes | None:
    """Some backends give memoryviews; lmdb's gives None for a key that it has not."""
    return data if data is None or isinstance(data, bytes) else bytes(data)
