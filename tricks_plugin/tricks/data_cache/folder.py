"""The folder of a cache: private to the user, and what may be put into it."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .state import State, load

__all__ = ['FolderRefusedError', 'available_memory', 'default_budget', 'default_folder',
           'file_system', 'found_state', 'free_bytes', 'is_tmpfs', 'open_found', 'open_private',
           'planned_budget', 'planned_space', 'unnamed_budget']

_MARK = 'state'
_TMPFS = ('tmpfs', 'ramfs')


class FolderRefusedError(OSError):
    """A folder cannot be a cache; the message says why, in one line."""


def default_folder() -> str:
    """The user's folder on the node's tmpfs, or in the folder for temporary files."""
    shared = Path('/dev/shm')
    root = shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    return str(root / f'tricks_data_cache_{os.geteuid()}')


def open_private(path: str) -> int:
    """Opens a folder that nobody else can read or write; makes it if it is missing.

    Args:
        path: The folder. An empty folder of the user's is made private.

    Returns:
        A file descriptor of the folder, for ``dir_fd``.

    Raises:
        FolderRefusedError: If the path is a symbolic link or no folder, belongs to somebody else,
            was open to others, or holds other things.
        OSError: If it cannot be made or opened.
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    return _opened(path, private=True)


def open_found(path: str) -> int | None:
    """Opens a cache's folder to look at it, and changes nothing; None where there is none.

    Args:
        path: The folder.

    Returns:
        A file descriptor.

    Raises:
        FolderRefusedError: See `open_private`.
        OSError: If it cannot be opened.
    """
    return _opened(path, private=False) if os.path.lexists(path) else None


def _opened(path: str, private: bool) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise FolderRefusedError(
            f'{path} is no folder of its own, or a symbolic link ({error.strerror})') from error
    try:
        _check(fd, path, private)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(fd: int, path: str, private: bool) -> None:
    found = os.fstat(fd)
    if found.st_uid != os.geteuid():
        raise FolderRefusedError(
            f'{path} belongs to user {found.st_uid}, and this process is user {os.geteuid()}')
    names = os.listdir(fd)
    if names and _MARK not in names and not set(names) <= {'lock', 'counts'}:
        raise FolderRefusedError(f'{path} is not empty and holds no cache: give a folder of its '
                                 'own')
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o022 and names:
        raise FolderRefusedError(f'{path} could be written by others (mode {mode:o})')
    if mode & 0o077 and private:
        os.fchmod(fd, 0o700)


def free_bytes(fd: int) -> int:
    """What may still be put on the folder's file system; a tenth of it is left to others.

    On tmpfs the workers of data loaders pass their batches, and die where there is no room.
    """
    system = os.fstatvfs(fd)
    return system.f_bavail * system.f_frsize - system.f_blocks * system.f_frsize // 10


def default_budget(fd: int, path: str, used: int = 0) -> int:
    """Half of what is free, on tmpfs at most a quarter of the available memory; in bytes, >= 1.

    Args:
        fd: The folder, or one above it on its file system.
        path: The folder.
        used: What its entries take, which is theirs to have.
    """
    budget = max(free_bytes(fd) + used, 0) // 2
    memory = available_memory()
    if memory is not None and is_tmpfs(path):
        budget = min(budget, (memory + used) // 4)
    return max(budget, 1)


def unnamed_budget(now: State | None, fd: int, path: str) -> tuple[int, bool]:
    """The budget of a run that names none, and whether it is a default.

    What a run has named stays. A default is taken anew where that gives a quarter more.

    Args:
        now: What the folder says of itself.
        fd: See `default_budget`.
        path: See there.
    """
    if now is not None and now.budget and not now.default:
        return now.budget, False
    before, used = (0, 0) if now is None else (now.budget, now.used)
    budget = default_budget(fd, path, used)
    return budget if budget > 1.25 * before else before, True


def planned_budget(path: str) -> int:
    """The budget that a folder has, or would get by default; makes nothing."""
    found = found_state(path)
    with _nearest(path) as fd:
        return unnamed_budget(found, fd, path)[0]


def planned_space(path: str) -> int:
    """Bytes that a folder's entries may come to on its file system, those there counted."""
    found = found_state(path)
    with _nearest(path) as fd:
        return max(free_bytes(fd), 0) + (found.used if found is not None else 0)


def found_state(path: str) -> State | None:
    """What a folder says of its cache; None where there is none."""
    try:
        fd = os.open(os.path.join(path, _MARK), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return load(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _nearest(path: str) -> Iterator[int]:
    """The folder, or the nearest one above it that is there, opened."""
    while not os.path.isdir(path):
        path = os.path.dirname(os.path.abspath(path))
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def is_tmpfs(path: str) -> bool:
    """Whether a folder lies in memory."""
    return file_system(path)[0] in _TMPFS


def file_system(path: str) -> tuple[str, str]:
    """The kind of file system that holds a path, and its device; empty where that is unknown."""
    try:
        mounts = Path('/proc/self/mounts').read_text().splitlines()
    except OSError:
        return '', ''
    path, best = os.path.realpath(path), ('', '', '')
    for line in mounts:
        device, point, kind = line.split()[:3]
        point = point.replace('\\040', ' ')
        inside = path == point or path.startswith(point.rstrip('/') + '/')
        if inside and len(point) >= len(best[0]):
            best = point, kind, device
    return best[1], best[2]


def available_memory() -> int | None:
    """Bytes that this process may still take, its control group's limit minded; None: unknown."""
    found = []
    try:
        for line in Path('/proc/meminfo').read_text().splitlines():
            if line.startswith('MemAvailable:'):
                found.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    for limit, usage in (('memory.max', 'memory.current'),
                         ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes')):
        root = Path('/sys/fs/cgroup')
        try:
            found.append(int((root / limit).read_text()) - int((root / usage).read_text()))
        except (OSError, ValueError):  # no such file, or no limit
            continue
    return max(min(found), 0) if found else None
