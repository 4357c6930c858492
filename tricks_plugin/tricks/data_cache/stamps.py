"""The state of a source, and how old a change must be for the next one to show."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ['UNCHANGING', 'Stamp', 'stamp_of_file', 'stamp_of_files', 'tick']

_YOUNG = 20_000_000  # nanoseconds: two ticks of the slowest clock of Linux's file systems
_COARSE = 2_000_000_000


class Stamp(NamedTuple):
    """The state of a source: an entry is as good as its stamp.

    Attributes:
        size: Bytes.
        modified: Time of modification in nanoseconds.
        changed: Time of the last change of the file or its attributes, which no program sets, so
            that a file put in another's place with its size and time is seen.
    """

    size: int
    modified: int
    changed: int

    @property
    def digest(self) -> bytes:
        """16 bytes."""
        text = f'{self.size} {self.modified} {self.changed}'
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


UNCHANGING = Stamp(0, 0, 0)
"""For sources that tell no time of modification."""


def stamp_of_file(path: str | os.PathLike[str]) -> Stamp:
    """The state of a local file.

    Raises:
        OSError: If there is none, or it is something else, such as a pipe.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f'{os.fspath(path)} is no regular file')
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def stamp_of_files(paths: Sequence[str]) -> Stamp:
    """The state of local files that a source reads together, such as a path and an archive.

    Raises:
        OSError: If one is missing, or is no file.
    """
    found = [stamp_of_file(path) for path in paths]
    if len(found) == 1:
        return found[0]
    youngest = max(found, key=lambda one: one.changed + tick(one.changed))
    whole = hashlib.blake2b(b''.join(one.digest for one in found), digest_size=8).digest()
    return Stamp(sum(one.size for one in found), int.from_bytes(whole, 'little'),
                 youngest.changed)


def tick(changed: int) -> int:
    """Nanoseconds after a change within which another one could have the same time.

    Args:
        changed: The time of the change, by which file systems that count in seconds are known.
    """
    return _COARSE if changed and changed % 1_000_000_000 == 0 else _YOUNG
