"""Follows how long a timm training waits for its data."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from ..common.processes import processors
from ..common.sample_times import Probe
from ..common.waiting.meter import DeviceGaps, Stretch, WaitMeter
from ..common.waiting.monitor import DataMonitor, Limits, describe
from .loop import Observer
from .run import Run
from .sample_times import instrument, pipeline_of

__all__ = ['DataWatch']

_SAMPLES = 16
_logger = logging.getLogger('tricks_plugin')


class DataWatch:
    """An observer that measures the waiting, and hands everything to another observer.

    Args:
        run: The training, its output folder made.
        inner: The other one.
    """

    def __init__(self, run: Run, inner: Observer) -> None:
        self._inner = inner
        self._former = Stretch()
        self._wandb = run.primary and bool(run.args.log_wandb)
        loader = getattr(run.loader_train, 'loader', run.loader_train)
        settings, situation = describe(
            loader, pipeline_of(loader.dataset), run.args.world_size, processors(),
            run.num_epochs * len(run.loader_train))
        self.monitor = DataMonitor(
            WaitMeter(gaps=DeviceGaps() if run.device.type == 'cuda' else None), Limits(),
            situation, settings, lambda: Probe(loader, instrument, _SAMPLES), logger=_logger,
            folder=None if run.output_dir is None else Path(run.output_dir),
            publish=lambda share: None)

    def on_ask(self, first: bool) -> None:
        """The iteration before is done, if there was one in this epoch; a batch is asked for."""
        if first:
            self.monitor.meter.ask(first=True)
        else:
            self.monitor.finished()
        self._inner.on_ask(first)

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """The batch is there; see `Observer`."""
        self.monitor.arrived()
        self._inner.on_batch(epoch, images, targets)

    def after_batch(self, loss: torch.Tensor) -> None:
        """See `Observer`."""
        self._inner.after_batch(loss)

    def epoch_end(self) -> None:
        """Hands the epoch's share to wandb, where that is asked for, beside the epoch's metrics.

        It stays out of timm's summary.csv, which two trainings of the same seed have alike.
        """
        self.monitor.look()
        total, former = dataclasses.replace(self.monitor.meter.total), self._former
        self._former = total
        passed = total.seconds - former.seconds
        if self._wandb and passed > 0:
            try:
                import wandb
            except ImportError:  # the start of the run has said so
                self._wandb = False
                return
            wandb.log({'train_data_wait': (total.waiting - former.waiting) / passed}, commit=False)

    def close(self) -> None:
        """See `DataMonitor.close`."""
        self.monitor.close()
