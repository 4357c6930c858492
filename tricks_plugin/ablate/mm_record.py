"""What a training of mmengine's Runner tells an ablation: its metric, time, and how it began."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from mmengine.hooks import Hook

from ..plan.errors import TrickError
from .metrics import check_metric, default_metric, value_of

__all__ = ['RecordHook', 'image_names', 'weights_digest']

_BATCHES = 32  # whose images tell two orders apart


def weights_digest(model: Any) -> str:
    """A digest of a model's parameters and buffers, by name and value."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.removeprefix('module.').encode())
        if hasattr(tensor, 'detach'):
            total.update(repr(tensor.dtype).encode())
            total.update(tensor.detach().cpu().contiguous().flatten().view(_bytes()).numpy())
    return total.hexdigest()[:16]


def _bytes() -> Any:
    import torch
    return torch.uint8


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
    """

    priority = 'LOWEST'

    def __init__(self, metric: str | None, by_epoch: bool) -> None:
        self.metric = metric
        self.by_epoch = by_epoch
        self.curve: list[dict[str, Any]] = []
        self.metrics: dict[str, float] = {}
        self.weights = ''
        self.parameters = 0
        self._order = hashlib.sha256()
        self._images = self._batches = 0
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def order(self) -> str:
        """A digest of the first images and their order; empty where they have no names."""
        return self._order.hexdigest()[:16] if self._images else ''

    @property
    def seconds(self) -> float:
        """Training time without validation."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._seconds + running

    def before_train(self, runner: Any) -> None:
        """Notes what the training starts from."""
        self.weights = weights_digest(runner.model)
        self.parameters = sum(one.numel() for one in runner.model.parameters())
        self._since = time.perf_counter()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Notes the first batches' images."""
        if self._batches < _BATCHES:
            self._batches += 1
            for name in image_names(data_batch):
                self._order.update(f'{name}\0'.encode())
                self._images += 1

    def before_val(self, runner: Any) -> None:
        """Stops the clock."""
        _wait()
        self._seconds, self._since = self.seconds, None

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keeps the metrics.

        Raises:
            TrickError: If the metric that counts is not among them.
        """
        self.metrics = {name: float(value) for name, value in (metrics or {}).items()
                        if isinstance(value, (int, float)) or hasattr(value, 'item')}
        if self.metric is None and self.metrics:
            self.metric = default_metric(self.metrics)
        if self.metric is None:
            raise TrickError('the validation gives no metric; name one by --metric')
        if self.metrics:
            check_metric(self.metric, self.metrics)
        value = value_of(self.metric, self.metrics)
        if value is not None:
            self.curve.append({
                'epoch': runner.epoch if self.by_epoch else None, 'iteration': runner.iter,
                'seconds': self._seconds, 'value': value, 'metrics': self.metrics})

    def after_val(self, runner: Any) -> None:
        """Starts the clock again."""
        self._since = time.perf_counter()

    def after_train(self, runner: Any) -> None:
        """Stops the clock."""
        _wait()
        self._seconds, self._since = self.seconds, None


def _wait() -> None:
    """Waits for the GPU, whose work is not done when the call returns."""
    import torch
    if torch.cuda.is_available():
        torch.cuda.synchronize()
