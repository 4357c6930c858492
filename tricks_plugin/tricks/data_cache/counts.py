"""Counts of what a run asked of its cache, over all of its worker processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import struct
import sys
import time
from pathlib import Path

__all__ = ['NAMES', 'Counts', 'note_in_run', 'owner', 'totals']

NAMES = ('hits', 'misses', 'stored', 'damaged', 'failed', 'hit_bytes', 'missed_bytes')
"""Reads answered by the cache and by the source; entries stored and found damaged; errors of the
cache that were answered by the source; bytes of the two kinds of reads."""

_PLACE = {name: place for place, name in enumerate(NAMES)}
_SLOT = struct.Struct(f'<{len(NAMES) + 1}q')
_SLOTS = 256
_FOLDER = 'counts'
_DAY = 86400.0


def owner() -> int:
    """The training process that this process works for: that of a data loader's worker, or itself.

    A training may itself be somebody's child, as with ``multiprocessing.Process`` or
    ``torch.multiprocessing.spawn``.
    """
    data = sys.modules.get('torch.utils.data')  # where it is not imported, this is no worker
    parent = multiprocessing.parent_process()
    if data is None or data.get_worker_info() is None or parent is None or parent.pid is None:
        return os.getpid()
    return parent.pid


class Counts:
    """The counts of one process, in a file of its run; later workers go on with its slot.

    Args:
        folder: Descriptor of the cache's folder.

    Raises:
        OSError: If the file cannot be made.
    """

    def __init__(self, folder: int) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(_FOLDER, 0o700, dir_fd=folder)
        self._fd = os.open(f'{_FOLDER}/{_run()}', os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
                           | os.O_CLOEXEC, 0o600, dir_fd=folder)
        self._offset = os.getpid() % _SLOTS * _SLOT.size
        self._values = _read(self._fd, self._offset)
        _forget_old(folder)

    def add(self, **counts: int) -> None:
        """Adds to counts by name."""
        for name, more in counts.items():
            self._values[_PLACE[name]] += more
        # Written, not mapped: a mapped file that somebody cuts short ends the process.
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, _SLOT.pack(*self._values, 0), self._offset)

    def close(self) -> None:
        """Lets the file go."""
        os.close(self._fd)


def totals(folder: int) -> dict[str, int]:
    """The counts of this run so far, by name; of all its processes.

    Args:
        folder: Descriptor of the cache's folder.
    """
    try:
        fd = os.open(f'{_FOLDER}/{_run()}', os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC,
                     dir_fd=folder)
    except OSError:
        return dict.fromkeys(NAMES, 0)
    try:
        data = os.pread(fd, _SLOTS * _SLOT.size, 0)
    finally:
        os.close(fd)
    slots = _SLOT.iter_unpack(data[:len(data) // _SLOT.size * _SLOT.size])
    return dict(zip(NAMES, map(sum, zip(*slots, strict=True)), strict=False)) or \
        dict.fromkeys(NAMES, 0)


def note_in_run(folder: int, what: str, value: int = 0) -> int | None:
    """Notes a number for the processes of this run, if none of them has.

    Args:
        folder: Descriptor of the cache's folder.
        what: A word for a file's name.
        value: What is noted.

    Returns:
        None if it was noted now, or what another process has noted before.

    Raises:
        OSError: If it cannot be noted.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(_FOLDER, 0o700, dir_fd=folder)
    place = f'{_FOLDER}/{_run()}.{what}'
    try:
        fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                     0o600, dir_fd=folder)
    except FileExistsError:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            text = os.read(fd, 64)
        finally:
            os.close(fd)
        return int(text) if text.isdigit() else value  # the other one may be about to write it
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)
    return None


def _run() -> str:
    """A name for this run: processes are numbered again, in each container from 1."""
    process = owner()
    return f'{process}.{_started(process)}'


def _started(process: int) -> str:
    """When a process started, in ticks since the system did; empty where that is not known."""
    try:
        words = Path(f'/proc/{process}/stat').read_text()
    except OSError:
        return ''
    return words.rpartition(')')[2].split()[19]


def _read(fd: int, offset: int) -> list[int]:
    data = os.pread(fd, _SLOT.size, offset)
    return list(_SLOT.unpack(data)[:len(NAMES)]) if len(data) == _SLOT.size else [0] * len(NAMES)


def _forget_old(folder: int) -> None:
    """Removes the counts of runs that ended days ago."""
    with contextlib.suppress(OSError):
        fd, own = os.open(_FOLDER, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder), _run()
        try:
            for name in os.listdir(fd):
                if name != own and \
                        time.time() - os.stat(name, dir_fd=fd).st_mtime > 2 * _DAY:
                    os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
