"""Measures, in the running training, that an average of the weights moves along by its formula."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from ...evidence import Average, Evidence, Finding, Training

__all__ = ['AverageEvidence']

_WATCHED = 4  # tensors that are averaged a second time
_APART, _MOVED = 3, 20  # updates after which an average must differ, and must have moved
_SLACK = 0.02  # by how much of its way an average may miss the one made here
_USELESS = 0.5  # the share of the first weights in the last average from which it is useless


@dataclasses.dataclass
class _Watched:
    """A tensor, its average, and the average made here since `begin` was last called.

    Attributes:
        name: Of the parameter or buffer.
        source: The tensor that is averaged.
        mean: The trainer's average of it.
        copied: Whether the trainer copies it, as it does with buffers.
    """

    name: str
    source: torch.Tensor
    mean: torch.Tensor
    copied: bool
    mine: torch.Tensor = dataclasses.field(init=False)
    start: torch.Tensor = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.mine, self.start = self.mean.detach().clone(), self.mean.detach().clone()

    def follow(self, share: float) -> None:
        source = self.source.detach().to(self.mine)
        self.mine.lerp_(source, 1.0 if self.copied else share)

    def distances(self) -> tuple[float, float, float, float]:
        """Of the average: to mine, mine since the start, to the weights, and its largest value."""
        wide = _wide(self.mean)
        mean, mine = self.mean.detach().to(wide), self.mine.to(wide)
        far = [mean - mine, mine - self.start.to(wide), mean - self.source.detach().to(mean), mean]
        away, way, apart, size = torch.stack([one.abs().max() for one in far]).tolist()
        return away, way, apart, size


class AverageEvidence(Evidence):
    """Averages some tensors a second time, by the trainer's formula, and compares.

    They are picked among those that have moved, after the first updates: an unused or frozen
    parameter tells nothing. With every finding that is right the second average starts anew from
    the trainer's, so that one that stops later is found as soon.
    """

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._first: dict[str, torch.Tensor] = {}
        self._due = self._since = self._wait = 0
        self._share: float | None = None
        self._copies = False
        self._live: bool | None = None
        self._shown: Any = None  # the name and distances of the latest judgement's worst

    def start(self, training: Training) -> None:
        """Takes one number per tensor, by which it shows later that it has moved."""
        average = training.average
        if average is not None:
            self._first = _numbers(average)

    def after_iteration(self, training: Training) -> None:
        """Follows the weights; a pick is tried after 1, 2, 4, ... updates until one moved."""
        average = training.average
        if average is None or not average.due:
            return
        self._due += 1
        self._share = average.share
        self._copies = self._due >= _APART and average.share == 1.0
        if self._watched:
            self._since += 1
            for one in self._watched:
                if average.share is not None:
                    one.follow(average.share)
        elif training.updates > self._wait:
            self._wait = max(1, 2 * self._wait)
            self._watched = self._pick(average)

    def _pick(self, average: Average) -> list[_Watched]:
        """The smallest parameters that moved, far apart in the model, and one such buffer.

        None while no parameter has: at the LR 0 of a warm-up's first update only buffers move.
        """
        now = _numbers(average)
        names = [name for name, value in self._first.items() if name in now]
        if not names:
            return []
        flags = torch.stack([now[name] != self._first[name] for name in names]).tolist()
        moved = {name for name, flag in zip(names, flags, strict=True) if flag}
        found: list[_Watched] = []
        for kind, count in (('named_parameters', _WATCHED), ('named_buffers', 1)):
            means = dict(getattr(average.module, kind)())
            pairs = [(name, value) for name, value in getattr(average.source, kind)()
                     if name in moved and name in means]
            if not pairs and not found:
                return []
            size = math.ceil(len(pairs) / count)
            for first in range(0, len(pairs), size or 1):
                name, value = min(pairs[first:first + size], key=lambda pair: pair[1].numel())
                found.append(_Watched(name, value, means[name], kind == 'named_buffers'
                                      and not average.buffers))
        return found

    def finding(self, training: Training) -> Finding:
        """The distance of the average to the weights, and to the average made here."""
        average, planned = training.average, 'an average of the weights'
        if average is None:
            return Finding(planned, False, 'the trainer keeps no average')
        values: dict[str, Any] = {'updates': self._due, 'share': self._share}
        if not self._watched:
            words = f'{self._due} updates of the average, and no weight has moved yet' \
                if self._due else 'the average has not begun'
            return Finding(planned, self._live, words, values)
        rows = {one.name: one.distances() for one in self._watched}
        finite = all(map(math.isfinite, (value for row in rows.values() for value in row)))
        if self._since or not self._shown or not finite:
            self._live = finite and self._judge(average, list(rows.values()))
            self._shown = max(rows.items(), key=lambda row: row[1][0])
        name, (off, way, apart, _) = self._shown
        values |= {'watched': list(rows), 'deviation': off, 'way': way, 'distance': apart}
        measured = (f'{self._due} updates; {", ".join(rows)} watched; off the formula by at most '
                    f'{off:.1e} ({name}, of a way of {way:.1e})')
        if self._share is None:
            measured = (f'{self._due} updates by a rule that is not known; {", ".join(rows)} '
                        'watched')
        if self._copies:
            measured += '; the formula takes the weights as they are'
        measured += self._memory(average, values)
        if self._live:
            self._since = 0
            for one in self._watched:
                one.begin()
        return Finding(planned, self._live, measured, values)

    def _judge(self, average: Average, rows: list[tuple[float, float, float, float]],
               ) -> bool | None:
        if self._copies:
            return False
        if average.share is None:
            means = [one.mean.detach().equal(one.start) for one in self._watched]
            if not all(means) and any(apart > 0 for _, _, apart, _ in rows):
                return True
            return self._live if self._since < _MOVED else False
        # Each update rounds, and an average forgets as it goes.
        rounds = min(self._since, 1 / average.share if average.share else self._since)
        told = False
        for (off, way, _, size), one in zip(rows, self._watched, strict=True):
            noise = torch.finfo(one.mean.dtype).eps * size * max(rounds, 1)
            if off > noise + _SLACK * way:
                return False
            told = told or way > 4 * noise
        return True if told and self._due >= _APART - 1 else self._live

    def _memory(self, average: Average, values: dict[str, Any]) -> str:
        """How far the average reaches back, and a warning where that is beyond the run."""
        share = self._share
        if not share or share == 1.0:
            return ''
        rest = (1 - share) ** max(average.total - 1, 0)
        values |= {'memory': 1 / share, 'first_weights_at_the_end': rest}
        words = f'; memory of {1 / share:.4g} updates in a run of {average.total}'
        if rest > _USELESS:
            words += (f', too long to be of use: at the end {100 * rest:.1f} % of it would be the '
                      'first weights')
        return words


def _numbers(average: Average) -> dict[str, torch.Tensor]:
    """One number per floating tensor that is averaged, which almost any change changes."""
    with torch.no_grad():
        named = [*average.source.named_parameters(), *average.source.named_buffers()]
        return {name: value.detach().to(_wide(value)).square().sum() for name, value in named
                if value.is_floating_point() and value.numel()}


def _wide(value: torch.Tensor) -> torch.dtype:
    return torch.float32 if value.device.type == 'mps' else torch.float64
