"""A folder of entries that many processes read and write at once, within one budget.

Every entry is one file. It is written to a draft under a lock, and renamed; it is read without a
lock, and checked. Which entries stay follows from their names alone: those of the smallest ranks
that fit together, whatever order they come in. An entry beyond them is dropped once, and never
taken again, so that a cache that is too small does not thrash.
"""

from __future__ import annotations

import dataclasses
import os

from . import entries, state
from .files import Files, cost, rounded
from .folder import (
    default_budget,
    found_state,
    free_bytes,
    is_tmpfs,
    open_found,
    open_private,
    unnamed_budget,
)
from .keys import MAX_RANK, rank_of
from .state import State

__all__ = ['Store', 'Usage', 'look']


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a cache holds.

    Attributes:
        entries: Their number.
        used: Their bytes, each rounded up to whole pages.
        budget: The largest ``used``.
        share: The share of all entries asked for so far that fits, in [0, 1]; 1 while it is not
            full.
    """

    entries: int
    used: int
    budget: int
    share: float


def look(path: str) -> Usage | None:
    """What a folder holds; makes and changes nothing. None where there is no folder.

    Args:
        path: The folder.

    Raises:
        FolderRefusedError: If the folder is no cache's.
        OSError: If it cannot be opened.
    """
    fd = open_found(path)
    if fd is None:
        return None
    try:
        files, known = Files(fd), found_state(path) or State(dirty=True)
        return _usage(files, known)
    finally:
        os.close(fd)


def _usage(files: Files, known: State) -> Usage:
    used = sum(size for _, size in files.all()) if known.dirty else known.used
    return Usage(files.count(), used, known.budget, min(known.limit / MAX_RANK, 1.0))


class Store:
    """The entries in a folder. For one process; a forked child makes its own.

    Args:
        path: The folder; made private, if it can be.
        budget: The largest size in bytes, for all processes from now on: a smaller one than
            before drops entries. None leaves the folder's own, or sets a default; one of before
            gives way to one that is a quarter larger.

    Raises:
        FolderRefusedError: If the folder cannot be used.
        OSError: If it cannot be made or written.
    """

    def __init__(self, path: str, budget: int | None = None) -> None:
        self.path = path
        self._budget, self._default = budget or 0, not budget
        self.dir = open_private(path)
        try:
            self._files = Files(self.dir, is_tmpfs(path))
            self._lock = state.Lock(self._files.open('lock'))
            self._state = self._files.open('state')
            with self._lock.held() as held:
                if held:
                    self._set_budget(budget)
        except BaseException:
            os.close(self.dir)
            raise

    def _set_budget(self, budget: int | None) -> None:
        now = self._current()
        wanted, default = (budget, False) if budget else unnamed_budget(
            now, self.dir, self.path)
        self._budget, self._default = wanted, default
        if (wanted, default) == (now.budget, now.default):
            # A file system that was full has room again: what it had stopped may come.
            if now.limit < MAX_RANK and 2 * now.used < self._room(now):
                self._end(dataclasses.replace(now, limit=MAX_RANK))
            return
        limit = MAX_RANK if wanted > now.budget else now.limit
        self._shrink(dataclasses.replace(now, budget=wanted, limit=limit, default=default))

    def get(self, name: str, stamp: bytes) -> entries.Payload | None:
        """The payload of an entry; None if it is not kept, or was made from another state.

        Args:
            name: The entry's name.
            stamp: 16 bytes that tell the state of the source.

        Raises:
            DamagedError: If the entry is damaged. It is dropped.
            OSError: If it cannot be read.
        """
        try:
            return self._files.read(name, stamp)
        except entries.DamagedError as error:
            self._drop(name, error.inode)
            raise

    def drop(self, name: str) -> None:
        """Removes an entry, if it is there; raises OSError if it cannot."""
        with self._lock.held() as held:
            if held and self._files.stat(name) is not None:
                self._end(self._remove(self._begin(self._current()), name))

    def _drop(self, name: str, inode: int) -> None:
        """Removes a damaged entry, unless another process has replaced it."""
        with self._lock.held() as held:
            found = self._files.stat(name) if held else None
            if found is not None and found.st_ino == inode:
                now = self._begin(self._current())
                self._files.unlink(name)
                # Sizes that were wrong may have stopped the cache early: it begins anew.
                self._recount(dataclasses.replace(now, limit=MAX_RANK))

    def put(self, name: str, stamp: bytes, payload: entries.Payload) -> bool:
        """Keeps a payload, if its rank is among those that fit; says whether it is kept now.

        Args:
            name: The entry's name.
            stamp: 16 bytes that tell the state of the source.
            payload: bytes, or an array of at most four dimensions.

        Raises:
            TypeError: If the payload is of a kind that no entry can hold.
            OSError: If it cannot be written.
        """
        rank = rank_of(name)
        if rank >= self.limit:
            return False
        header, body = entries.pack(name, stamp, payload)
        size = cost(len(body))
        with self._lock.held() as held:
            if not held:
                return False
            now = self._current()
            room = self._room(now)
            if rank >= now.limit or size > room:
                return False
            if self._files.has(name, stamp):
                return True
            now = self._begin(now)
            try:
                now = self._make_room(self._remove(now, name), rank, size, room)
                if rank < now.limit:
                    self._files.write(name, header, body)
                    now = dataclasses.replace(now, used=now.used + size)
            except OSError:
                self._recount(now)
                raise
            self._end(now)
            return rank < now.limit

    def _room(self, now: State) -> int:
        """Bytes of all entries: the budget, or what the file system has where that is less."""
        return min(now.budget, now.used + max(free_bytes(self.dir), 0))

    def _make_room(self, now: State, rank: int, size: int, room: int) -> State:
        """Drops entries of higher ranks until ``size`` fits; lowers the limit where it ends."""
        while now.used + size > room:
            last = self._files.last()
            if last is None or rank_of(last) <= rank:
                return dataclasses.replace(now, limit=rank)
            now = dataclasses.replace(self._remove(now, last), limit=rank_of(last))
        return now

    @property
    def room(self) -> int:
        """Bytes that all entries may come to now: the budget, or what the file system has."""
        return self._room(state.load(self._state) or State())

    @property
    def limit(self) -> int:
        """Entries of this rank and above are not kept, as they would not fit."""
        known = state.load(self._state)
        return MAX_RANK if known is None else known.limit

    def usage(self) -> Usage:
        """What the folder holds now."""
        return _usage(self._files, state.load(self._state) or State(dirty=True))

    def clear(self) -> Usage:
        """Drops every entry; a budget that a run has named stays, a default is taken anew.

        Returns:
            What was there.

        Raises:
            TimeoutError: If another process holds the folder.
            OSError: If an entry cannot be removed.
        """
        with self._lock.held() as held:
            if not held:
                raise TimeoutError(f'{self.path} is held by another process')
            before, now = self.usage(), self._begin(self._current())
            for name, _ in self._files.all():
                self._files.unlink(name)
            budget = default_budget(self.dir, self.path) if now.default else now.budget
            self._end(State(budget=budget, default=now.default))
        return before

    def close(self) -> None:
        """Lets the folder go."""
        for fd in (self._lock.fd, self._state, self.dir):
            os.close(fd)

    # All below is called with the lock held.

    def _current(self) -> State:
        """The state; counted anew where a process has died while it changed entries."""
        now = state.load(self._state)
        if now is not None and not now.dirty:
            return now
        return self._recount(now or State(budget=self._budget, default=self._default))

    def _recount(self, now: State) -> State:
        self._files.unlink_draft()
        now = dataclasses.replace(now, used=sum(size for _, size in self._files.all()))
        return self._shrink(now) if now.budget else self._end(now)

    def _begin(self, now: State) -> State:
        now = dataclasses.replace(now, dirty=True)
        state.save(self._state, now)
        return now

    def _end(self, now: State) -> State:
        now = dataclasses.replace(now, dirty=False)
        state.save(self._state, now)
        return now

    def _shrink(self, now: State) -> State:
        """Drops the entries of the highest ranks until the rest fits."""
        now = self._begin(now)
        while now.used > now.budget:
            last = self._files.last()
            if last is None:
                break
            now = dataclasses.replace(self._remove(now, last), limit=rank_of(last))
        return self._end(now)

    def _remove(self, now: State, name: str) -> State:
        found = self._files.stat(name)
        if found is None:
            return now
        self._files.unlink(name)
        return dataclasses.replace(now, used=max(now.used - rounded(found.st_size), 0))
