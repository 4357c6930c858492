"""How long each iteration waits for its batch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch

__all__ = ['DeviceGaps', 'Stretch', 'WaitMeter']


@dataclasses.dataclass
class Stretch:
    """Some iterations in a row.

    Attributes:
        iterations: How many.
        seconds: Their time, waiting included; validation and checkpoints are not in it.
        waiting: What of it was lost to waiting for batches.
        starting: What of ``waiting`` belongs to the first batches of epochs.
        restarts: How often the loader came to its end within an epoch and was begun anew.
    """

    iterations: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    starting: float = 0.0
    restarts: int = 0

    def add(self, other: Stretch) -> None:
        """Adds other iterations to these."""
        self.iterations += other.iterations
        self.seconds += other.seconds
        self.waiting += other.waiting
        self.starting += other.starting
        self.restarts += other.restarts

    @property
    def share(self) -> float:
        """The share of the time that was lost to waiting; 0 before the first iteration."""
        return self.waiting / self.seconds if self.seconds > 0 else 0.0

    @property
    def step(self) -> float:
        """Seconds of an iteration without waiting."""
        return (self.seconds - self.waiting) / max(self.iterations, 1)


class DeviceGaps:
    """How long a CUDA device had nothing to do between two iterations.

    The processor runs ahead of the device: while it waits for a batch, the device may still be
    busy, and then nothing is lost. Two events an iteration tell; none is waited for.
    """

    def __init__(self) -> None:
        self._ended: Any = None
        self._pairs: list[tuple[Any, Any, float, bool]] = []

    def ended(self) -> None:
        """Marks the end of an iteration's work."""
        self._ended = torch.cuda.Event(enable_timing=True)
        self._ended.record()

    def begun(self, waited: float, first: bool) -> bool:
        """Marks the beginning of the next one's, which the processor waited for.

        Returns:
            Whether `take` will tell of it: not of the very first.
        """
        if self._ended is None:
            return False
        begun = torch.cuda.Event(enable_timing=True)
        begun.record()
        self._pairs.append((self._ended, begun, waited, first))
        return True

    def take(self) -> list[tuple[float, bool]]:
        """``(seconds lost, first of an epoch)`` of the iterations that the device has come to."""
        found = []
        while self._pairs and self._pairs[0][1].query():
            ended, begun, waited, first = self._pairs.pop(0)
            found.append((min(waited, ended.elapsed_time(begun) / 1e3), first))
        return found


class WaitMeter:
    """Measures a loop: `ask`, then `arrive` and `finish` for each batch.

    Attributes:
        total: All iterations that `take` has told of.

    Args:
        clock: Gives seconds.
        gaps: What the device says; None counts the processor's waiting.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter,
                 gaps: DeviceGaps | None = None) -> None:
        self._clock = clock
        self._gaps = gaps
        self._asked = self._arrived = clock()
        self._first = True
        self._now = Stretch()
        self.total = Stretch()
        self.iterations = 0

    def ask(self, first: bool = False) -> None:
        """A batch is asked for now; without a call, that is where the last one was finished.

        Args:
            first: Whether it is the first of an epoch.
        """
        self._asked = self._clock()
        self._first = self._first or first

    def arrive(self, restarted: bool = False) -> None:
        """The batch is there.

        Args:
            restarted: Whether the loader was begun anew for it: it counts as the first of an epoch.
        """
        self._first = self._first or restarted
        self._now.restarts += restarted
        self._arrived = self._clock()
        waited = self._arrived - self._asked
        self._now.seconds += waited
        if self._gaps is None or not self._gaps.begun(waited, self._first):
            self._lose(waited, self._first)
        self._first = False

    def _lose(self, seconds: float, first: bool) -> None:
        self._now.waiting += seconds
        self._now.starting += seconds if first else 0.0

    def finish(self) -> None:
        """The iteration is done, and the next batch is asked for."""
        if self._gaps is not None:
            self._gaps.ended()
        self._asked = self._clock()
        self._now.seconds += self._asked - self._arrived
        self._now.iterations += 1
        self.iterations += 1

    def take(self) -> Stretch:
        """What was measured since the last call."""
        if self._gaps is not None:
            for seconds, first in self._gaps.take():
                self._lose(seconds, first)
        now, self._now = self._now, Stretch()
        self.total.add(now)
        return now
