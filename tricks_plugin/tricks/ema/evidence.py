"""Measures, in the running training, that an average of the weights moves along."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import EMAHook

from ...evidence import Evidence, Finding

__all__ = ['AverageEvidence']

_TOLERANCE = 1e-3


class AverageEvidence(Evidence):
    """Averages one small parameter a second time and compares it with the hook's average."""

    def __init__(self) -> None:
        self._hook: Any = None
        self._source: torch.Tensor | None = None
        self._name = ''
        self._mine: torch.Tensor | None = None
        self._updates = 0
        self._begins = 0

    def start(self, runner: Any) -> None:
        """Picks the smallest parameter that trains, and the hook's average of it as it stands."""
        self._hook = next((hook for hook in runner.hooks if isinstance(hook, EMAHook)), None)
        if self._hook is None or not hasattr(self._hook, 'ema_model'):
            self._hook = None
            return
        trained = [(value.numel(), name) for name, value in self._hook.src_model.named_parameters()
                   if value.requires_grad]
        if not trained:
            self._hook = None
            return
        self._name = min(trained)[1]
        self._source = dict(self._hook.src_model.named_parameters())[self._name]
        self._begins = int(self._hook.ema_model.steps)

    def _average(self) -> torch.Tensor:
        return dict(self._hook.ema_model.module.named_parameters())[self._name]

    def after_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Follows the weights by the formula; the very first update is a copy."""
        if self._hook is None or self._source is None:
            return
        source = self._source.detach()
        if self._mine is None:
            self._mine = source.clone() if self._begins == 0 else self._average().detach().clone()
        else:
            self._mine += self._hook.ema_model.momentum * (source - self._mine)
        self._updates += 1

    def finding(self, runner: Any) -> Finding:
        """The distance of the average to the weights, and to the average made here."""
        if self._hook is None or self._mine is None or self._source is None:
            return Finding('an average of the weights', False, 'no EMAHook at work')
        average = self._average().detach()
        momentum = float(self._hook.ema_model.momentum)
        steps = int(self._hook.ema_model.steps) - self._begins
        off = float((average - self._mine).abs().max())
        scale = float(self._mine.abs().max()) or 1.0
        away = float((average - self._source.detach()).abs().max())
        right = off <= _TOLERANCE * scale and steps == self._updates
        live = (right and away > 0) if self._updates >= 2 else None
        measured = (f'{steps} updates in {self._updates} iterations, momentum {momentum:.3g}; '
                    f'{self._name} is {away:.2e} from its average, which is off the formula by '
                    f'{off:.1e}')
        return Finding('an average of the weights', live, measured,
                       {'updates': steps, 'iterations': self._updates, 'momentum': momentum,
                        'distance': away, 'deviation': off})

    def close(self) -> None:
        """Drops the hook, which holds the models."""
        self._hook = self._source = None
