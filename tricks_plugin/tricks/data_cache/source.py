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
from .stamps import UNCHANGING, Stamp, stamp_of_file, stamp_of_files

__all__ = ['Source', 'as_backend_args', 'say']

_NAMES = 1 << 14  # that a process remembers, of some 500 bytes


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
        self._names: dict[tuple[Any, ...], tuple[str, Callable[[], Stamp]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_usual': None, '_names': {}}

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
        key: tuple[Any, ...] = level, path, *more
        if not os.path.isabs(path):
            key += (os.getcwd(),)
        found = self._names.get(key)
        if found is None:
            name, stamp, lasting = self._look_up(level, path, *more)
            found = name, stamp
            if lasting and len(self._names) < _NAMES:
                self._names[key] = found
        return found

    def _look_up(
        self, level: str, path: str | Path, *more: Any,
    ) -> tuple[str, Callable[[], Stamp], bool]:
        """Name and stamp, and whether both hold for this working directory, whatever comes."""
        backend = self.backend(path)
        kind, text = type(backend).__name__, str(path)
        local = '' if '://' in text else os.path.abspath(text)
        if type(backend) is LocalBackend:  # others of its kind may read another thing
            return entry_name(level, kind, local, *more), partial(stamp_of_file, local), True
        inner, files = _located(self.inner)
        here = bool(local) and os.path.isfile(local)
        lasting = (not local or here) and not any(
            isinstance(value, (str, os.PathLike))
            for key, value in (self.inner or {}).items() if key != 'backend')
        if here:
            place: Any = local
            files = [local, *files]
        else:  # a key, or a path that only the backend understands: it may go by where it stands
            place = [os.getcwd(), text] if local and not os.path.isabs(text) else text
        name = entry_name(level, kind, inner, place, *more)
        if files and not hasattr(backend, 'stat'):
            return name, partial(stamp_of_files, files), lasting
        return name, partial(_told, backend, path), lasting


def _located(inner: dict[str, Any] | None) -> tuple[dict[str, Any] | None, list[str]]:
    """``backend_args`` with absolute paths for what is here, and the files among these."""
    if inner is None:
        return None, []
    found, files = dict(inner), []
    for key, value in inner.items():
        if key == 'backend' or not isinstance(value, (str, os.PathLike)) \
                or not os.path.exists(value):
            continue
        found[key] = place = os.path.abspath(value)
        data = os.path.join(place, 'data.mdb') if os.path.isdir(place) else place  # lmdb's
        if os.path.isfile(data):
            files.append(data)
    return found, files


def _told(backend: Any, path: str | Path) -> Stamp:
    """The state as a backend's own ``stat`` tells it, where it has one."""
    if not hasattr(backend, 'stat'):
        return UNCHANGING
    found = backend.stat(path)
    modified = getattr(found, 'st_mtime_ns', None) or int(found.st_mtime * 1e9)
    return Stamp(int(found.st_size), modified, getattr(found, 'st_ctime_ns', 0))
