"""The files of a cache's entries, below the descriptor of its folder."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator

from . import entries
from .checked import Checked, Known

__all__ = ['Files', 'cost', 'is_kept', 'rounded']

_PAGE = 4096
_NAME = re.compile('[0-9a-f]{32}')
_PART = re.compile('[0-9a-f]{2}')
_DRAFT = 'draft'
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Files:
    """One file per entry, in 256 folders by the first two digits of the name.

    What writes must be called by one process at a time.

    Args:
        fd: The descriptor of the folder.
        maps: Whether arrays that were found right are mapped.
    """

    def __init__(self, fd: int, maps: bool = False) -> None:
        self._fd = fd
        self._checked = Checked(maps)

    def open(self, name: str) -> int:
        """Opens a file of the cache's own, such as its lock; makes it if it is missing."""
        return os.open(name, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600, dir_fd=self._fd)

    def read(self, name: str, stamp: bytes) -> entries.Payload | None:
        """The payload of an entry; None if it is not there, or has another stamp.

        An entry that this process has found right is not checked again, while its file is the
        same and unchanged.

        Raises:
            DamagedError: If the entry is damaged; its ``inode`` says which file that was.
            OSError: If it cannot be read.
        """
        place, known = _place(name), self._checked.get(name)
        if known is not None and known.array is not None:
            if self._is_still(known, name, stamp):
                copy = known.array.copy()
                if self._is_still(known, name, stamp):  # so it was while it was copied
                    return copy
            self._checked.sweep(self.stat)
        try:
            fd = os.open(place, os.O_RDONLY | _FLAGS, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        try:
            return self._read(fd, name, stamp)
        finally:
            os.close(fd)

    def _is_still(self, known: Known, name: str, stamp: bytes) -> bool:
        found = self.stat(name)
        return found is not None and known.is_still(found, stamp)

    def _read(self, fd: int, name: str, stamp: bytes) -> entries.Payload | None:
        began, found, known = time.time_ns(), os.fstat(fd), self._checked.get(name)
        try:
            if known is not None and known.is_still(found, stamp):
                payload = entries.payload(fd, known.header, check=False)
                if known.is_still(os.fstat(fd), stamp):  # so it was while it was read
                    return payload
                began, found = time.time_ns(), os.fstat(fd)
            self._checked.forget(name)
            header = entries.header_of(fd, name, found.st_size)
            if header.stamp != stamp:
                return None
            array = self._checked.map(found, began, header, fd)
            payload = entries.payload(fd, header) if array is None else \
                entries.copied(array, header)
            if payload is None:
                del array  # which the error would keep mapped
                raise entries.DamagedError('the checksum is wrong')
        except entries.DamagedError as error:
            error.inode = found.st_ino
            raise
        self._checked.add(name, found, began, header, array)
        return payload

    def has(self, name: str, stamp: bytes) -> bool:
        """Whether an entry of this stamp is there, whole by its size."""
        try:
            fd = os.open(_place(name), os.O_RDONLY | _FLAGS, dir_fd=self._fd)
        except OSError:
            return False
        try:
            return entries.header_of(fd, name, os.fstat(fd).st_size).stamp == stamp
        except (entries.DamagedError, OSError):
            return False
        finally:
            os.close(fd)

    def write(self, name: str, header: bytes, body: memoryview) -> None:
        """Writes an entry whole or not at all.

        Raises:
            OSError: If it cannot be written.
        """
        try:
            self.unlink_draft()
            fd = os.open(_DRAFT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600,
                         dir_fd=self._fd)
            try:
                for part in (memoryview(header), body):
                    while part:
                        part = part[os.write(fd, part):]
            finally:
                os.close(fd)
            self._publish(_place(name))
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink_draft()
            raise

    def _publish(self, place: str) -> None:
        try:
            os.rename(_DRAFT, place, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except FileNotFoundError:
            os.mkdir(place.split('/')[0], 0o700, dir_fd=self._fd)
            os.rename(_DRAFT, place, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def unlink(self, name: str) -> None:
        """Removes an entry, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_place(name), dir_fd=self._fd)

    def unlink_draft(self) -> None:
        """Removes what a process has left that died while it wrote."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_DRAFT, dir_fd=self._fd)

    def stat(self, name: str) -> os.stat_result | None:
        """The entry's file, or None."""
        try:
            return os.stat(_place(name), dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return None

    def last(self) -> str | None:
        """The name of the highest rank."""
        for part in sorted(self._parts(), reverse=True):
            names = self._names(part)
            if names:
                return max(names)
        return None

    def all(self) -> Iterator[tuple[str, int]]:
        """Names and sizes of all entries; the size rounded up to whole pages."""
        for part in self._parts():
            for name in self._names(part):
                found = self.stat(name)
                if found is not None:
                    yield name, rounded(found.st_size)

    def count(self) -> int:
        """The number of entries."""
        return sum(len(self._names(part)) for part in self._parts())

    def _parts(self) -> list[str]:
        return [name for name in self._list('.') if _PART.fullmatch(name)]

    def _names(self, part: str) -> list[str]:
        return [name for name in self._list(part) if _NAME.fullmatch(name)]

    def _list(self, place: str) -> list[str]:
        try:
            # A descriptor of its own: forked processes share the place in a listing.
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=self._fd)
        except OSError:
            return []
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)


def _place(name: str) -> str:
    return f'{name[:2]}/{name}'


def is_kept(folder: str, name: str) -> bool:
    """Whether a folder has an entry of a name, of whatever state of its source."""
    return os.path.isfile(os.path.join(folder, _place(name)))


def rounded(size: int) -> int:
    """A size rounded up to whole pages of memory."""
    return -(-size // _PAGE) * _PAGE


def cost(length: int) -> int:
    """What an entry of so many bytes takes of the budget: its header, and whole pages."""
    return rounded(entries.HEADER + length)
