"""What this process knows of entries that it has checked, so that it need not check them again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .entries import HEADER, Header
from .stamps import tick

__all__ = ['Checked', 'Known', 'mapped']

_MOST = 1 << 17   # entries, of some 400 bytes
_MAPS = 1 << 14   # a quarter of what Linux allows a process by default


@dataclasses.dataclass(frozen=True)
class Known:
    """An entry whose content was right when this process read it.

    Attributes:
        file: Its inode, size and time of the last change.
        header: What it holds.
        array: Its payload in a map of the file; None without a map.
    """

    file: tuple[int, int, int]
    header: Header
    array: np.ndarray | None = None

    def is_still(self, found: os.stat_result, stamp: bytes) -> bool:
        """Whether the file is as it was, and made from a state of the source."""
        return self.file == _state(found) and self.header.stamp == stamp


class Checked:
    """The entries that a process has checked; the first ones that come, up to a limit.

    Args:
        maps: Whether arrays may be mapped.
    """

    def __init__(self, maps: bool) -> None:
        self._known: dict[str, Known] = {}
        self._maps = _MAPS if maps else 0

    def get(self, name: str) -> Known | None:
        """What is known of an entry."""
        return self._known.get(name)

    def map(self, found: os.stat_result, began: int, header: Header, fd: int) -> np.ndarray | None:
        """A map of an entry that is to be checked, where it may be mapped and noted after that.

        Args:
            found: Its file before it is read.
            began: The time before that, in nanoseconds.
            header: What it holds.
            fd: The open file.
        """
        if not header.dtype or self._maps <= 0 or not self._may_note(found, began):
            return None
        return mapped(fd, header)

    def add(self, name: str, found: os.stat_result, began: int, header: Header,
            array: np.ndarray | None) -> None:
        """Notes that an entry has been found right.

        A file that had changed within a tick of its clock before it was read could change once
        more without a sign, and is not noted.

        Args:
            name: The entry's name.
            found: Its file before it was read.
            began: The time before that, in nanoseconds: the process may have slept since.
            header: What it holds.
            array: What `map` gave.
        """
        if self._may_note(found, began):
            self._maps -= array is not None
            self._known[name] = Known(_state(found), header, array)

    def _may_note(self, found: os.stat_result, began: int) -> bool:
        return len(self._known) < _MOST and began - found.st_ctime_ns >= tick(found.st_ctime_ns)

    def forget(self, name: str) -> None:
        """Forgets an entry."""
        known = self._known.pop(name, None)
        self._maps += known is not None and known.array is not None

    def sweep(self, look: Callable[[str], os.stat_result | None]) -> None:
        """Lets go of the maps whose files are gone: they hold memory until then.

        Args:
            look: The file of an entry, or None.
        """
        for name, known in list(self._known.items()):
            if known.array is not None:
                found = look(name)
                if found is None or known.file != _state(found):
                    self.forget(name)


def mapped(fd: int, header: Header) -> np.ndarray | None:
    """An entry's array as a map of its file; None where it cannot be had.

    PyTorch's map holds no file descriptor, as Python's own does.

    Args:
        fd: The open file, of the size that the header says.
        header: What it holds.
    """
    import torch
    whole: Any = None
    with contextlib.suppress(OSError, RuntimeError):
        whole = torch.from_file(f'/proc/self/fd/{fd}', shared=False, dtype=torch.uint8,
                                size=HEADER + header.length)
    return None if whole is None else header.shaped(whole.numpy()[HEADER:])


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_ctime_ns
