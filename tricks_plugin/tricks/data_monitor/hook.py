"""The hook that follows how long a training of mmengine's Runner waits for its data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...common.processes import processors, world_size
from ...common.sample_times import Probe
from ...common.waiting.meter import DeviceGaps, WaitMeter
from ...common.waiting.monitor import DataMonitor, Limits, describe
from ...mm.sample_times import cache_of, instrument, pipeline_of

__all__ = ['DataBottleneckHook']


@HOOKS.register_module()
class DataBottleneckHook(Hook):
    """Says once when the training waits for its data, why, and what would help.

    The share of the time spent waiting becomes the scalar ``data_wait``, which mmengine's
    LoggerHook hands to every visualizer backend. See `DataMonitor` for the rest.

    Args:
        threshold: The share, in (0, 1), that is worth a word.
        interval: Iterations between two values of the scalar.
        window: Iterations whose mean share is compared with the threshold.
        samples: Samples that are timed in a worker of their own, once, where that is above.

    Raises:
        ValueError: If an argument is out of its bounds.
    """

    # The last hook to be called after an iteration: what others do then is no waiting.
    priority = 'LOWEST'

    def __init__(self, threshold: float = 0.1, interval: int = 10, window: int = 100,
                 samples: int = 16) -> None:
        self.limits = Limits(threshold, interval, window)
        if samples < 1:
            raise ValueError(f'samples must be >= 1, got {samples!r}')
        self.samples = samples
        self.monitor: DataMonitor | None = None
        self._passes = 0

    def before_train(self, runner: Any) -> None:
        """Begins to measure."""
        loader = runner.train_dataloader
        device = next((value.device for value in runner.model.parameters()), torch.device('cpu'))
        settings, situation = describe(loader, pipeline_of(loader.dataset), world_size(),
                                       processors(), int(runner.max_iters))
        situation = dataclasses.replace(situation, cache=lambda: cache_of(loader.dataset))
        self._passes = _passes(runner)
        hub = runner.message_hub
        self.monitor = DataMonitor(
            WaitMeter(gaps=DeviceGaps() if device.type == 'cuda' else None), self.limits,
            situation, settings, lambda: Probe(loader, instrument, self.samples),
            logger=runner.logger, folder=Path(runner.work_dir) if runner.rank == 0 else None,
            publish=lambda share: hub.update_scalar('train/data_wait', share))

    def before_train_epoch(self, runner: Any) -> None:
        """The epoch's first batch is asked for."""
        if self.monitor is not None:
            self.monitor.meter.ask(first=True)

    def after_val(self, runner: Any) -> None:
        """In an iteration-based training the next batch is asked for after the validation."""
        if self.monitor is not None:
            self.monitor.meter.ask()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """The batch is there."""
        if self.monitor is not None:
            before, self._passes = self._passes, _passes(runner)
            self.monitor.arrived(restarted=self._passes > before)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None,
    ) -> None:
        """The iteration is done."""
        if self.monitor is not None:
            self.monitor.finished()

    def after_train(self, runner: Any) -> None:
        """Speaks of a short training, and leaves the record for the next one."""
        if self.monitor is not None:
            self.monitor.close()


def _passes(runner: Any) -> int:
    """How often an iteration-based training has come to the end of its loader."""
    batches = getattr(runner.train_loop, 'dataloader_iterator', None)
    return int(getattr(batches, '_epoch', 0))  # mmengine has no public name for it
