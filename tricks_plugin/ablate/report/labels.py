"""Where labels go so that none lies on another: beside their points, or in a column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ['Box', 'Place', 'beside', 'spread']

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom; y grows downwards
_MARK = 8.0  # half the size of a mark with its gap
_FAR = 10.0


def beside(points: Sequence[Place], widths: Sequence[float], height: float, bounds: Box,
           lines: Sequence[tuple[Place, Place]] = (), others: Sequence[Place] = (),
           most: float = float('inf')) -> list[Place] | None:
    """Places labels next to their points, clear of marks and each other, and of lines if possible.

    Args:
        points: Where the marks are, in pixels.
        widths: Of the labels.
        height: Of every label.
        bounds: What labels stay inside of.
        lines: Straight lines that labels should not lie on.
        others: Marks without a label.
        most: How many of a line's 25 points a label may cover.

    Returns:
        Left end and middle height of each label; None if some label finds no room.
    """
    on_lines = np.array([(a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]))
                         for a, b in lines for part in np.linspace(0, 1, 25)]).reshape(-1, 2)
    marks = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in (*points, *others)]
    best: list[Place] | None = None
    least = float('inf')
    for order in (np.argsort([p[1] for p in points]), np.argsort([-p[1] for p in points]),
                  np.argsort([p[0] for p in points]), np.argsort([-p[0] for p in points])):
        found, cost = _in_order(order, points, widths, height, bounds, marks, on_lines, most)
        if found is not None and cost < least:
            best, least = found, cost
    return best


def _in_order(order: np.ndarray, points: Sequence[Place], widths: Sequence[float], height: float,
              bounds: Box, marks: Sequence[Box], on_lines: np.ndarray,
              most: float) -> tuple[list[Place] | None, float]:
    """One greedy pass: each label takes the place that covers the least of the lines."""
    taken: list[Box] = []
    found: dict[int, Place] = {}
    total = 0.0
    for index in map(int, order):
        choices = []
        for rank, place in enumerate(_around(points[index], widths[index], height)):
            box = (place[0] - 2, place[1] - height / 2, place[0] + widths[index] + 2,
                   place[1] + height / 2)
            covered = _covered(box, on_lines)
            if covered <= most and _inside(box, bounds) \
                    and not any(_touch(box, other) for other in (*marks, *taken)):
                choices.append((covered + 0.5 * rank, place, box))
        if not choices:
            return None, 0.0
        cost, found[index], box = min(choices)
        taken.append(box)
        total += cost
    return [found[index] for index in range(len(points))], total


def _around(point: Place, width: float, height: float) -> list[Place]:
    x, y = point
    up = _MARK + height / 2 + 1
    right, left = x + _FAR, x - _FAR - width
    return [(right, y), (left, y), (x + 4, y - up), (x + 4, y + up), (x - width / 2, y - up),
            (x - width / 2, y + up), (x - 4 - width, y - up), (x - 4 - width, y + up)]


def _inside(box: Box, bounds: Box) -> bool:
    return box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] \
        and box[3] <= bounds[3]


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _covered(box: Box, points: np.ndarray) -> int:
    x, y = points[:, 0], points[:, 1]
    return int(((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])).sum())


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights as near as possible to those wanted, ``gap`` apart, from ``low`` on.

    They stay below ``high`` as well if they fit in at all.

    Args:
        wanted: In any order.
        gap: The least distance of two.
        low: The least height.
        high: The greatest, if there is room.
    """
    order = np.argsort(wanted, kind='stable')
    placed: list[float] = []
    for index in order:
        least = placed[-1] + gap if placed else low
        placed.append(max(float(wanted[index]), least))
    limit = max(high, low + gap * (len(placed) - 1))
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    found = [0.0] * len(placed)
    for place, index in zip(placed, order, strict=True):
        found[int(index)] = place
    return found
