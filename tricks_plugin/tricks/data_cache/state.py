"""The state of a cache: how much it holds, how much it may, and where it stops."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator

from .keys import MAX_RANK

__all__ = ['Lock', 'State', 'load', 'save']

_FIELDS = struct.Struct('<8sBB6xQQ16s')  # the second flag is 0 in files of before it
_MAGIC = b'TPSTATE1'
_PATIENCE = 2.0  # seconds


@dataclasses.dataclass(frozen=True)
class State:
    """What all processes know of a cache.

    Attributes:
        used: Bytes in entries, each rounded up to whole pages.
        budget: The largest ``used``; 0 until one is set.
        limit: Entries of this rank and above are not kept, as they would not fit.
        dirty: Whether a process is changing entries, or died of it: ``used`` may be wrong.
        default: Whether ``budget`` is what nobody has named.
    """

    used: int = 0
    budget: int = 0
    limit: int = MAX_RANK
    dirty: bool = False
    default: bool = False


def load(fd: int) -> State | None:
    """The state in a file, or None if there is none that can be trusted.

    Args:
        fd: The open file.
    """
    data = os.pread(fd, _FIELDS.size + 4, 0)
    if len(data) != _FIELDS.size + 4 or zlib.crc32(data[:-4]) != struct.unpack('<I', data[-4:])[0]:
        return None
    magic, dirty, default, used, budget, limit = _FIELDS.unpack(data[:-4])
    if magic != _MAGIC:
        return None
    return State(used, budget, int.from_bytes(limit, 'little'), bool(dirty), bool(default))


def save(fd: int, state: State) -> None:
    """Writes the state, in one call of the system."""
    body = _FIELDS.pack(_MAGIC, state.dirty, state.default, state.used, state.budget,
                        state.limit.to_bytes(16, 'little'))
    os.pwrite(fd, body + struct.pack('<I', zlib.crc32(body)), 0)


class Lock:
    """One writer at a time, among threads and processes; a dead process holds nothing.

    Args:
        fd: An open file of this process; one that a fork shares does not exclude.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Whether it could be had within two seconds: a stopped process stops nobody else."""
        end = time.monotonic() + _PATIENCE
        if not self._threads.acquire(timeout=_PATIENCE):
            yield False
            return
        try:
            held = self._wait(end)
            try:
                yield held
            finally:
                if held:
                    fcntl.flock(self.fd, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _wait(self, end: float) -> bool:
        pause = 0.0002
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > end:
                    return False
            time.sleep(pause)
            pause = min(2 * pause, 0.005)
