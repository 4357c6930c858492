"""Measures, in the running training, that an average of the weights moves along."""

from __future__ import annotations

import torch

from ...evidence import Evidence, Finding, Training

__all__ = ['AverageEvidence']

_TOLERANCE = 1e-3


class AverageEvidence(Evidence):
    """Averages one small parameter a second time and compares it with the trainer's average."""

    def __init__(self) -> None:
        self._name = ''
        self._mine: torch.Tensor | None = None
        self._updates = 0

    def start(self, training: Training) -> None:
        """Picks the smallest parameter that trains."""
        average = training.average
        if average is None:
            return
        trained = [(value.numel(), name) for name, value in average.source.named_parameters()
                   if value.requires_grad]
        self._name = min(trained)[1] if trained else ''

    def on_update(self, training: Training) -> None:
        """Follows the weights by the formula; the very first update is a copy."""
        average = training.average
        if average is None or not self._name:
            return
        source = dict(average.source.named_parameters())[self._name].detach()
        if self._mine is None:
            self._mine = dict(average.module.named_parameters())[self._name].detach().clone()
        else:
            self._mine += average.share * (source - self._mine)
        self._updates += 1

    def finding(self, training: Training) -> Finding:
        """The distance of the average to the weights, and to the average made here."""
        average, planned = training.average, 'an average of the weights'
        if average is None or self._mine is None:
            return Finding(planned, None if average else False, 'no average at work')
        mean = dict(average.module.named_parameters())[self._name].detach()
        source = dict(average.source.named_parameters())[self._name].detach()
        off, away = float((mean - self._mine).abs().max()), float((mean - source).abs().max())
        right = off <= _TOLERANCE * (float(self._mine.abs().max()) or 1.0)
        live = (right and away > 0) if self._updates >= 2 else None
        return Finding(planned, live, f'{self._updates} updates, {self._name} is {away:.2e} from '
                       f'its average, which is off the formula by {off:.1e}',
                       {'updates': self._updates, 'distance': away, 'deviation': off})
