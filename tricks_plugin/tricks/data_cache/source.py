"""Where files come from: a backend of mmengine's, and the state of a file as it tells it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log

from .keys import entry_name
from .stamps import UNCHANGING, Stamp, stamp_of_file

__all__ = ['Source', 'as_backend_args', 'say']


def as_backend_args(file_client_args: dict[str, Any]) -> dict[str, Any] | None:
    """The deprecated ``file_client_args`` of mmengine as ``backend_args``."""
    args = {key: value for key, value in file_client_args.items() if key != 'prefix'}
    if args.get('backend') == 'disk':
        args['backend'] = 'local'
    return args or None


def say(line: str) -> None:
    """Puts a line into the run's log, for which Python's own loggers are silent."""
    print_log(line, logger='current')


class Source:
    """The files behind a cache. Pickles and forks.

    Args:
        inner: ``backend_args`` of the backend that reads them; None for mmengine's choice by the
            path's prefix, which is ``local`` for a plain path.
    """

    def __init__(self, inner: dict[str, Any] | None = None) -> None:
        self.inner = None if inner is None else dict(inner)
        self._usual: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_usual': None}

    def backend(self, path: str | Path) -> Any:
        """The backend that reads a path."""
        if '://' in str(path) and 'backend' not in (self.inner or {}):
            return get_file_backend(path, backend_args=self.inner, enable_singleton=True)
        if self._usual is None:
            self._usual = get_file_backend(path, backend_args=self.inner, enable_singleton=True)
        return self._usual

    def known_by(
        self, level: str, path: str | Path, *more: Any,
    ) -> tuple[str, Callable[[], Stamp]]:
        """What a cache calls a file, and how to ask for the state of the source.

        Args:
            level: ``encoded`` or ``decoded``.
            path: The file.
            more: Plain values on which the content depends beside the file.

        Returns:
            ``(name, stamp)``; the latter is a function.
        """
        backend = self.backend(path)
        kind = type(backend).__name__
        if isinstance(backend, LocalBackend):
            local = os.path.abspath(path)
            return entry_name(level, kind, local, *more), partial(stamp_of_file, local)
        name = entry_name(level, kind, self.inner, str(path), *more)
        database = (self.inner or {}).get('db_path')
        if isinstance(database, (str, os.PathLike)) and os.path.exists(database):
            data = os.path.join(database, 'data.mdb') if os.path.isdir(database) else database
            return name, partial(stamp_of_file, data)
        return name, partial(_told, backend, path)


def _told(backend: Any, path: str | Path) -> Stamp:
    """The state as a backend's own ``stat`` tells it, where it has one."""
    if not hasattr(backend, 'stat'):
        return UNCHANGING
    found = backend.stat(path)
    modified = getattr(found, 'st_mtime_ns', None) or int(found.st_mtime * 1e9)
    return Stamp(int(found.st_size), modified, getattr(found, 'st_ctime_ns', 0))
