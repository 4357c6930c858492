"""A switch and counts that all processes holding a copy of one transform see at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import get_worker_info

__all__ = ['SharedState', 'Switchable']

_SLOTS = 64  # worker processes that count apart; worker 64 adds to the counts of worker 0


class SharedState:
    """Numbers in shared memory, which copies, forked and spawned processes go on sharing.

    Every worker process writes into a place of its own, so no lock is needed.

    Args:
        counts: Names of numbers that are added up over the processes.
        peaks: Names of numbers of which the largest counts.
    """

    def __init__(self, counts: Sequence[str] = (), peaks: Sequence[str] = ()) -> None:
        self._counts, self._peaks = tuple(counts), tuple(peaks)
        self._switch = torch.ones(1, dtype=torch.uint8).share_memory_()
        self._numbers = torch.zeros((len(counts) + len(peaks), _SLOTS),
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
        self._numbers.numpy()[self._counts.index(name), _slot()] += 1

    def raise_to(self, name: str, value: int) -> None:
        """Raises a peak of this process to a value, if it lies below."""
        row = self._numbers.numpy()[len(self._counts) + self._peaks.index(name)]
        row[_slot()] = max(row[_slot()], value)

    def total(self, name: str) -> int:
        """A count over all processes."""
        return int(self._numbers.numpy()[self._counts.index(name)].sum())

    def peak(self, name: str) -> int:
        """The largest value of a peak over all processes."""
        return int(self._numbers.numpy()[len(self._counts) + self._peaks.index(name)].max())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._switch.share_memory_()
        self._numbers.share_memory_()

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedState:
        return self


class Switchable:
    """A transform with one switch for all processes that hold a copy of it.

    Attributes:
        shared: Where the switch lies.
    """

    shared: SharedState

    @property
    def enabled(self) -> bool:
        """Whether it is on; setting it reaches every process at once."""
        return self.shared.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self.shared.enabled = value


def _slot() -> int:
    """The place of this process: that of its worker, or the first one."""
    info = get_worker_info()
    return 0 if info is None else info.id % _SLOTS
