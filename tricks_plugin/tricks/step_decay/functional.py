"""A learning rate that falls in steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ['decay_points', 'step_decay']


def decay_points(total: int, fractions: Sequence[float]) -> list[int]:
    """When a run's learning rate falls.

    Args:
        total: Length of the run, in epochs or iterations.
        fractions: Shares of the run, rising, each in (0, 1).

    Returns:
        The same in epochs or iterations, rounded down.

    Raises:
        ValueError: If a share is out of its range, or the run too short to tell the points (and
            the start) apart.

    Example:
        >>> decay_points(120, fractions=[0.25, 0.5, 0.75])
        [30, 60, 90]

    Source: arXiv 1812.01187 section 5.1: a tenth every 30 epochs.
    """
    if not all(0 < one < 1 for one in fractions) or list(fractions) != sorted(set(fractions)):
        raise ValueError(f'fractions must rise within (0, 1), got {fractions!r}')
    points = [math.floor(one * total + 1e-9) for one in fractions]
    if not points or points[0] < 1 or len(set(points)) < len(points):
        raise ValueError(f'a run of {total} is too short for steps at {list(fractions)}')
    return points


def step_decay(step: int, base_lr: float, points: Sequence[int], gamma: float = 0.1) -> float:
    """The learning rate at a step of the run.

    Args:
        step: Counted from 0, in the unit of ``points``.
        base_lr: At step 0.
        points: From these steps on the rate is multiplied by ``gamma`` once more.
        gamma: 1 keeps the rate, 0 would stop.

    Example:
        >>> [round(step_decay(epoch, 0.1, points=[30, 60]), 6) for epoch in (0, 29, 30, 60)]
        [0.1, 0.1, 0.01, 0.001]
    """
    return base_lr * gamma ** sum(step >= point for point in points)
