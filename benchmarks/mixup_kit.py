"""What the benchmarks of mixup share: interleaved rounds, synthetic images, tables."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def quartiles(values: list[float]) -> list[float]:
    """First quartile, median and third quartile."""
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method='inclusive')


def rounds_of(arms: dict[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each arm in each round; each round begins with another arm."""
    names = list(arms)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):  # the first round warms up
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds = arms[name](number + 1)
            if number >= 0:
                times[name].append(seconds)
    return times


def ratio(above: list[float], below: list[float]) -> list[float]:
    """Quartiles of the rounds' ratios."""
    return quartiles([a / b for a, b in zip(above, below, strict=True)])


def synthetic_coco(folder: Path, images: int, portrait: float) -> None:
    """Writes JPEGs of 640x480, a share of them 480x640, with seven boxes each; `train.json`."""
    rng = np.random.RandomState(0)
    records, boxes = [], []
    for number in range(images):
        upright = math.floor((number + 1) * portrait) > math.floor(number * portrait)
        height, width = (640, 480) if upright else (480, 640)
        noise = rng.randint(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
        image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f'{number}.jpg'), image)
        records.append(dict(id=number, file_name=f'{number}.jpg', height=height, width=width))
        for _ in range(7):
            w, h = (np.exp(rng.uniform(math.log(0.05), math.log(0.8), 2)) * (width, height))
            x, y = rng.random_sample(2) * (width - w, height - h)
            boxes.append(dict(id=len(boxes) + 1, image_id=number, category_id=1, iscrowd=0,
                              bbox=[float(v) for v in (x, y, w, h)], area=float(w * h)))
    (folder / 'train.json').write_text(json.dumps(dict(
        images=records, annotations=boxes, categories=[dict(id=1, name='thing')])))


def sample_rounds(clock: Callable[[], float], datasets: dict[str, Any], indices: range,
                  rounds: int) -> dict[str, list[float]]:
    """Seconds per sample of each data set in each round, every sample by all of them in turn.

    A sample's draws are equal in all arms. The machine's pace changes from second to second, and
    so it is the same for what is compared.
    """
    names = list(datasets)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):  # the first round warms up
        total = dict.fromkeys(names, 0.0)
        for index in indices:
            turn = (number + index) % len(names)
            for name in names[turn:] + names[:turn]:
                dataset = datasets[name]
                np.random.seed(1000 * number + index)
                start = clock()
                dataset[index % len(dataset)]
                total[name] += clock() - start
        if number:
            for name in names:
                times[name].append(total[name] / len(indices))
    return times


class Timed:
    """A transform whose time is summed up, what it calls itself for included."""

    def __init__(self, transform: Any, clock: Callable[[], float]) -> None:
        self.transform, self.clock = transform, clock
        self.seconds, self.calls, self.depth = 0.0, 0, 0

    def __call__(self, results: Any) -> Any:
        self.depth += 1
        start = self.clock()
        results = self.transform(results)
        seconds = self.clock() - start
        self.depth -= 1
        if not self.depth:
            self.seconds += seconds
            self.calls += 1
        return results

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transform, name)


def spread(values: list[float]) -> str:
    low, middle, high = values
    return f'{middle:.2f} ({low:.2f} to {high:.2f})'


def table(head: str, lines: list[list[str]]) -> str:
    names = head.split(' | ')
    rows = [names, ['---'] * len(names), *lines]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)
