"""A switch and counts that all processes holding a copy of one transform see at once."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import get_worker_info

__all__ = ['SharedState']

_SLOTS = 64  # worker processes that count apart; worker 64 adds to the counts of worker 0
_COUNTS = ('failed_partners', 'loaded_partners', 'dropped_proposals')
_PEAKS = ('sample_bytes', 'cache_bytes')


class SharedState:
    """Numbers in shared memory, which copies, forked and spawned processes go on sharing.

    Every worker process writes into a place of its own, so no lock is needed. The counts are
    ``failed_partners``, ``loaded_partners`` and ``dropped_proposals``; the peaks are
    ``sample_bytes`` (the largest cached sample) and ``cache_bytes`` (one process's cache).
    """

    def __init__(self) -> None:
        self._switch = torch.ones(1, dtype=torch.uint8).share_memory_()
        self._numbers = torch.zeros((len(_COUNTS) + len(_PEAKS), _SLOTS),
                                    dtype=torch.int64).share_memory_()

    @property
    def enabled(self) -> bool:
        """The switch; setting it reaches every process at once."""
        return bool(self._switch.item())

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._switch.fill_(int(value))

    def count(self, name: str) -> None:
        """Adds 1 to a count, for this process."""
        self._numbers.numpy()[_COUNTS.index(name), _slot()] += 1

    def raise_to(self, name: str, value: int) -> None:
        """Raises a peak of this process to a value, if it lies below."""
        row = self._numbers.numpy()[len(_COUNTS) + _PEAKS.index(name)]
        row[_slot()] = max(row[_slot()], value)

    def total(self, name: str) -> int:
        """A count over all processes."""
        return int(self._numbers.numpy()[_COUNTS.index(name)].sum())

    def peak(self, name: str) -> int:
        """The largest value of a peak over all processes."""
        return int(self._numbers.numpy()[len(_COUNTS) + _PEAKS.index(name)].max())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._switch.share_memory_()
        self._numbers.share_memory_()

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedState:
        return self


def _slot() -> int:
    """The place of this process: that of its worker, or the first one."""
    info = get_worker_info()
    return 0 if info is None else info.id % _SLOTS
