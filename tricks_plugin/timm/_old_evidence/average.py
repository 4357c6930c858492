"""Measures that the average of the weights moves along, and is not the weights."""

from __future__ import annotations

import math
from typing import Any

import torch

from ...evidence import Finding
from .base import Measurement

__all__ = ['AverageMeasurement']

_APART, _MOVED = 3, 20  # updates after which the average must be apart, must have moved


class AverageMeasurement(Measurement):
    """Compares timm's average of the weights with the weights, and with itself at the start."""

    trick = 'ema'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._start: list[float] = []
        self._updates = 0
        self._proved = False

    @classmethod
    def active(cls, run: Any) -> bool:
        """With ``model_ema``."""
        return bool(run.args.model_ema)

    def _average(self) -> Any:
        average = self.run.task.get_trainable_module(ema=True)
        return getattr(average, 'module', average)

    def start(self) -> None:
        """Takes the sums of the averaged parameters as they stand."""
        if self._average() is not None:
            self._start = _sums(self._average())

    def on_update(self, update: int) -> None:
        """Counts the updates."""
        self._updates += 1

    def finding(self) -> Finding:
        """How far the average is from the weights, and whether it moved."""
        planned = f'an average of the weights, decay {self.run.args.model_ema_decay:g}'
        average = self._average()
        if average is None:
            return Finding(planned, False, 'the task has no average')
        away, size = 0.0, 0.0
        with torch.no_grad():
            for mine, weight in zip(average.parameters(), self.run.model.parameters(),
                                    strict=True):
                weight = weight.detach().to(mine.device)
                away += float((mine - weight).double().square().sum())
                size += float(weight.double().square().sum())
        moved = sum(now != then for now, then in zip(_sums(average), self._start, strict=True))
        relative = math.sqrt(away / size) if size > 0 and math.isfinite(away) else math.nan
        measured = (f'{self._updates} updates; {relative:.3g} of the weights\' length away from '
                    f'them; {moved} of {len(self._start)} averaged parameters moved')
        return Finding(planned, self._live(relative, moved), measured, {
            'updates': self._updates, 'moved': moved, 'parameters': len(self._start),
            'relative_distance': relative if math.isfinite(relative) else None})

    def _live(self, relative: float, moved: int) -> bool | None:
        if math.isnan(relative):
            return False
        if self._updates < _APART:
            return None
        # Once the LR is 0 for good, the average rightly meets the weights.
        self._proved = self._proved or (relative > 0 and moved > 0)
        if self._proved or (relative > 0 and self._updates < _MOVED):
            return self._proved or None
        return False


def _sums(module: Any) -> list[float]:
    """One number per parameter, which any update changes."""
    with torch.no_grad():
        return torch.stack([value.detach().double().sum().cpu()
                            for value in module.parameters()]).tolist()
