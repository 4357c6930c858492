"""What a training of mmengine's Runner tells an ablation: its metric, time, and how it began."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from mmengine.hooks import Hook

from ..plan.errors import TrickError
from .metrics import ABSENT, check_metric, default_metric, is_absent, value_of
from .record import BATCHES, Clock, weights_digest

__all__ = ['RecordHook', 'image_names']


def image_names(batch: Any) -> Iterator[str]:
    """What tells the images of a batch apart, in their order: their ids, else their files."""
    if isinstance(batch, dict):
        batch = list(batch.values())
    if isinstance(batch, (list, tuple)):
        yield from itertools.chain.from_iterable(image_names(one) for one in batch)
    elif hasattr(batch, 'metainfo'):
        known = batch.metainfo
        if 'img_id' in known or known.get('img_path'):
            yield str(known.get('img_id', PurePath(str(known.get('img_path'))).name))


class RecordHook(Hook):
    """Keeps every validation's metrics with the training time so far.

    Args:
        metric: The one that counts; None takes a default at the first validation.
        by_epoch: Whether the training counts epochs.

    Attributes:
        curve: Every validation that gave the metric.
        validated: Iterations trained before the last validation; None before the first.
        value: The metric of the last validation; None where that gave none.
        clock: Training time without validation.
        weights: A digest of the initial weights.
        parameters: How many the model has.
    """

    priority = 'LOWEST'

    def __init__(self, metric: str | None, by_epoch: bool) -> None:
        self.metric = metric
        self.by_epoch = by_epoch
        self.curve: list[dict[str, Any]] = []
        self.validated: int | None = None
        self.value: float | None = None
        self.clock = Clock()
        self.weights = ''
        self.parameters = 0
        self._known = False
        self._training = False
        self._order = hashlib.sha256()
        self._images = self._batches = 0

    @property
    def order(self) -> str:
        """A digest of the first images and their order; empty where they have no names."""
        return self._order.hexdigest()[:16] if self._images else ''

    def before_train(self, runner: Any) -> None:
        """Notes what the training starts from."""
        self.weights = weights_digest(runner.model)
        self.parameters = sum(one.numel() for one in runner.model.parameters())
        self._training = True
        self.clock.start()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Notes the first batches' images."""
        if self._batches < BATCHES:
            self._batches += 1
            for name in image_names(data_batch):
                self._order.update(f'{name}\0'.encode())
                self._images += 1

    def before_val(self, runner: Any) -> None:
        """Stops the clock."""
        self.clock.stop()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keeps the metrics.

        Raises:
            TrickError: If no validation has given the metric that counts, and this one gives
                others; if the validation has nothing that it could be of.
        """
        found = {name: float(value) for name, value in (metrics or {}).items()
                 if isinstance(value, (int, float)) or hasattr(value, 'item')}
        if self.metric is None:
            self.metric = default_metric(found)
        if found and not self._known:
            check_metric(self.metric, found)
        if is_absent(self.metric, found.get(self.metric)):
            raise TrickError(f'--metric {self.metric}: {ABSENT}; choose another')
        self._known = self._known or bool(found)
        self.validated, self.value = runner.iter, value_of(self.metric, found)
        if self.value is not None:
            self.curve.append({
                'epoch': runner.epoch if self.by_epoch else None, 'iteration': runner.iter,
                'seconds': self.clock.seconds, 'value': self.value,
                'metrics': {name: value for name, value in found.items()
                            if not is_absent(name, value)}})

    def after_val(self, runner: Any) -> None:
        """Starts the clock again, if the training goes on."""
        if self._training:
            self.clock.start()

    def after_train(self, runner: Any) -> None:
        """Stops the clock."""
        self._training = False
        self.clock.stop()
