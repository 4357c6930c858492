"""Losses that are no numbers any more, counted on the device."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from ..plan.errors import FailedRunError

__all__ = ['LIMIT', 'NonFinite', 'NonFiniteError', 'Streak', 'is_finite']

LIMIT = 10  # updates in a row after which a run has failed; float16 alone skips one or two


class NonFiniteError(FailedRunError):
    """A training whose loss has been no number for too many updates in a row."""


@dataclasses.dataclass(frozen=True)
class Streak:
    """The longest row of updates without a finite loss.

    Attributes:
        since: The first of them, by its place among the updates that were added, from 0.
        length: How many they are.
    """

    since: int
    length: int


class NonFinite:
    """Counts updates in a row whose loss is not finite, without waiting for the device.

    `add` runs with every update and leaves the count on the device; `found` reads it, so call it
    where the loss is read anyway. An update that float16's loss scaling skips has a finite loss
    and infinite gradients, so it does not count.

    Args:
        limit: Updates in a row from which on `found` reports.
        unit: What is added, in the plural.

    Attributes:
        added: How many were.

    Example:
        >>> watch = NonFinite(limit=2)
        >>> for loss in (1.0, float('nan'), float('inf'), 1.0):
        ...     watch.add(torch.tensor(loss))
        >>> watch.found()
        Streak(since=1, length=2)
    """

    def __init__(self, limit: int = LIMIT, unit: str = 'updates') -> None:
        if limit < 1:
            raise ValueError(f'limit must be 1 or more, got {limit!r}')
        self.limit = limit
        self.unit = unit
        self.added = 0
        self._row: torch.Tensor | None = None  # the row under way, the longest one, its last update

    def add(self, loss: torch.Tensor) -> None:
        """Takes the loss of one update.

        Args:
            loss: Any shape, on any device; one value that is not finite makes the update count.
        """
        bad = ~torch.isfinite(loss.detach()).all()
        if self._row is None:
            self._row = torch.zeros(3, dtype=torch.int64, device=bad.device)
        under_way, longest, last = self._row.unbind()
        under_way = (under_way + 1) * bad.to(self._row.device)
        last = torch.where(under_way > longest, self.added, last)
        self._row = torch.stack([under_way, torch.maximum(under_way, longest), last])
        self.added += 1

    def found(self) -> Streak | None:
        """The longest row if it reached the limit, else None. Waits for the device."""
        if self._row is None:
            return None
        _, longest, last = self._row.tolist()
        return Streak(last - longest + 1, longest) if longest >= self.limit else None

    def at_the_end(self) -> Streak | None:
        """The row that the latest update belongs to, of any length. Waits for the device."""
        length = 0 if self._row is None else int(self._row[0])
        return Streak(self.added - length, length) if length else None


def is_finite(value: Any) -> bool:
    """Whether a number is neither NaN nor infinite."""
    return math.isfinite(float(value))
