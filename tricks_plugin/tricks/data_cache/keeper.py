"""Reading through a cache: from it where it can answer, else from the source, and then keeping it.

Nothing that goes wrong with the cache reaches the caller; what the source raises does.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from ...common.waiting.cache import Cache
from .counts import Counts, note_in_run, totals
from .entries import DamagedError
from .files import cost
from .folder import FolderRefusedError, default_folder, found_state
from .keys import MAX_RANK
from .stamps import UNCHANGING, Stamp, tick
from .store import Store
from .survey import size

__all__ = ['Keeper', 'keeper']

_logger = logging.getLogger('tricks_plugin')
_WAIT = 100_000_000  # nanoseconds
_SETTLED = 0.03  # seconds after which a file that is not changed counts as old, see `stamps`
_WRITTEN = 64  # entries that wait for that; of more, the first ones are left to their next reader


class Keeper:
    """Reads through one folder, in whatever process it is called. Pickles and forks.

    Args:
        folder: The folder; None for the user's own on this node.
        budget_mb: The largest size in MB of 10^6 bytes; None for the folder's own, or a default.
        say: Takes the line that says, once a run, that the budget is full, and again whenever the
            share that is kept has fallen to half of what was said. Pickles.

    Raises:
        ValueError: If the budget is not above 0.
        TypeError: If an argument is of the wrong type.
    """

    def __init__(self, folder: str | None = None, budget_mb: float | None = None,
                 say: Callable[[str], Any] = _logger.info) -> None:
        if folder is not None and not isinstance(folder, (str, os.PathLike)):
            raise TypeError(f'folder must be a path, got {folder!r}')
        if budget_mb is not None and (isinstance(budget_mb, bool)
                                      or not isinstance(budget_mb, (int, float))):
            raise TypeError(f'budget_mb must be a number, got {budget_mb!r}')
        if budget_mb is not None and not budget_mb > 0:
            raise ValueError(f'budget_mb must be > 0, got {budget_mb!r}')
        self.folder = os.path.abspath(folder or default_folder())
        self._budget = None if budget_mb is None else max(int(budget_mb * 1e6), 1)
        self._opened: tuple[int, Store | None, Counts | None] | None = None
        self._written: collections.deque[tuple[float, str, bytes]] = collections.deque()
        self.trouble = ''
        self._say = say
        self._said, self._times = 2 * MAX_RANK, 0  # the limit that was said last; how often

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_opened': None, '_written': collections.deque()}

    def open(self) -> Store | None:
        """The folder's entries, or None, with `trouble` saying why."""
        if self._opened is None or self._opened[0] != os.getpid():
            store: Store | None = None
            count: Counts | None = None
            try:
                store = Store(self.folder, self._budget)
                with contextlib.suppress(OSError):
                    count = Counts(store.dir)
            except OSError as error:
                self._tell(str(error) if isinstance(error, FolderRefusedError)
                           else f'{self.folder}: {error.strerror or error}')
            self._opened = os.getpid(), store, count
            self._written = collections.deque(maxlen=_WRITTEN)
        return self._opened[1]

    def counted(self) -> dict[str, int]:
        """What this run has asked so far, over all its processes; empty without a folder."""
        store = self.open()
        return {} if store is None else totals(store.dir)

    def now(self, level: str) -> Cache:
        """What the cache does for this run at this moment; makes nothing.

        Args:
            level: What is kept of an image.
        """
        found, asked = found_state(self.folder), {'hits': 0, 'misses': 0}
        with contextlib.suppress(OSError):
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                asked = totals(fd)
            finally:
                os.close(fd)
        return Cache(level, found is not None and found.limit < MAX_RANK,
                     asked['misses'] > asked['hits'])

    def fetch(self, name: str, state: Callable[[], Stamp], read: Callable[[], Any]) -> Any:
        """The content of a source: from the cache, or read and, if it fits, kept.

        Args:
            name: The entry's name.
            state: Tells the source's state; what it raises leaves the answer to ``read``.
            read: Reads the source. Its errors are the caller's.

        Returns:
            What ``read`` returned now or an earlier time; an array is the caller's to change.
        """
        store, before = self.open(), _asked(state)
        if store is None or before is None:
            return read()
        kept = self._get(store, name, before.digest)
        if kept is not None:
            self._count(hits=1, hit_bytes=_bytes(kept))
            return kept
        self._look_back(store)
        before = _settled(before, state)
        value = read()
        self._count(misses=1, missed_bytes=_bytes(value))
        if value is not None and before is not None and before == _asked(state):
            self._keep(store, name, before, value)
        return value

    def _look_back(self, store: Store) -> None:
        """Checks (and maps) an entry that this process has written, once it is old enough.

        While the cache fills, so that the first epoch pays for it and no later one.
        """
        if self._written and time.monotonic() - self._written[0][0] > _SETTLED:
            _, name, stamp = self._written.popleft()
            self._get(store, name, stamp)

    def forget(self, name: str) -> None:
        """Drops an entry, as its source has been written."""
        store = self.open()
        if store is not None:
            try:
                store.drop(name)
            except OSError as error:
                self._failed(error)

    def _get(self, store: Store, name: str, stamp: bytes) -> Any:
        try:
            return store.get(name, stamp)
        except DamagedError as error:
            self._count(damaged=1)
            _logger.warning('data_cache: an entry in %s was dropped, and the source is read: %s',
                            self.folder, error)
        except (OSError, MemoryError) as error:
            self._failed(error)
        return None

    def _keep(self, store: Store, name: str, stamp: Stamp, value: Any) -> None:
        try:
            if store.put(name, stamp.digest, value):
                self._count(stored=1)
                self._written.append((time.monotonic(), name, stamp.digest))
            else:
                self._tell_large(store, _bytes(value))
            self._tell_full(store)
        except (OSError, MemoryError, TypeError, ValueError) as error:
            self._failed(error)

    def _tell_large(self, store: Store, length: int) -> None:
        """Says, if no other process of this run has, that a file is larger than all there is."""
        with contextlib.suppress(OSError):
            room = store.room
            if cost(length) > room and note_in_run(store.dir, 'large') is None:
                self._say(f'data_cache: a file of {size(length)} is larger than all of '
                          f'{self.folder}, {size(room)}, and is read from its source each time, '
                          'as any such file is')

    def _tell_full(self, store: Store) -> None:
        """Says what is kept, and again where half is left of what any process of this run said.

        At the first file that does not fit the share is near 1; it falls as more files are seen.
        """
        with contextlib.suppress(OSError):
            limit = store.limit
            while limit < MAX_RANK and limit < self._said and 2 * limit <= self._said:
                noted = note_in_run(store.dir, f'full{self._times}', limit)
                self._said, self._times = limit if noted is None else noted, self._times + 1
                if noted is None:
                    usage, room = store.usage(), store.room
                    disk = '' if room == usage.budget else \
                        f' (its file system leaves it {size(room)})'
                    self._say(f'data_cache: the budget of {self.folder} is full: it keeps '
                              f'{usage.entries} files, {size(usage.used)} of {size(usage.budget)}'
                              f'{disk}, which is some {usage.share:.0%} of the files asked for '
                              'so far; the others are read from their source each time')

    def _failed(self, error: BaseException) -> None:
        self._count(failed=1)
        self._tell(f'{self.folder}: {type(error).__name__}: {error}')

    def _tell(self, trouble: str) -> None:
        """Says once in this process that the source has to answer."""
        if not self.trouble:
            _logger.warning('data_cache: reads go to the source, as the cache cannot be used: %s',
                            trouble)
        self.trouble = trouble

    def _count(self, **counts: int) -> None:
        if self._opened is not None and self._opened[2] is not None:
            self._opened[2].add(**counts)


def _asked(state: Callable[[], Stamp]) -> Stamp | None:
    try:
        return state()
    except Exception:  # the source's own code: reading it will raise what there is to raise
        return None


def _settled(now: Stamp, state: Callable[[], Stamp]) -> Stamp | None:
    """The stamp, once a further change would give another one; None where that takes long.

    Two changes within one tick of a file system's clock have the same times.
    """
    age, least = time.time_ns() - now.changed, tick(now.changed)
    if now == UNCHANGING or age >= least:
        return now
    if least > _WAIT:
        return None
    time.sleep(min(least, least - age) / 1e9)
    return _asked(state)


def _bytes(value: Any) -> int:
    return int(getattr(value, 'nbytes', 0)) or (len(value) if isinstance(value, bytes) else 0)


_keepers: dict[tuple[str | None, float | None], Keeper] = {}


def keeper(folder: str | None = None, budget_mb: float | None = None,
           say: Callable[[str], Any] = _logger.info) -> Keeper:
    """The process's `Keeper` of a folder; all that read through the same one share it."""
    key = (folder, budget_mb)
    if key not in _keepers:
        _keepers[key] = Keeper(folder, budget_mb, say)
    return _keepers[key]
