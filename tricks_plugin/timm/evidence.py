"""Drives the measurements of a timm training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..evidence import Evidence, Monitor, RateEvidence, build_evidence
from ..plan import TRICKS, Plan
from .run import Run
from .training import TimmTraining

__all__ = ['TimmEvidence']

_SCHEDULE = 'sched'  # the row of a schedule that no trick asked for
_logger = logging.getLogger('tricks_plugin')


class TimmEvidence:
    """Measures the tricks of a timm training; see `tricks_plugin.evidence.Monitor`.

    The flags decide what is measured, so a training without ``--tricks`` is watched as well; a
    planned trick that its settings leave something to measure of has its row in any case. Tables
    come at the ends of epochs, below the progress bar. Only the first process measures.

    Args:
        run: The training.
        settings: timm's settings after the tricks, before the trainer fills in what is derived.
        plan: What the tricks set, or None.
        strict: Whether a trick without effect stops the training. It judges the tricks that were
            asked for, and nothing that timm's defaults or other flags bring.
    """

    def __init__(self, run: Run, settings: Mapping[str, Any], plan: Plan | None = None,
                 strict: bool = False) -> None:
        self.training = TimmTraining(run)
        rows = plan.tricks if plan is not None else ()
        promises = {row.name: row.promise for row in rows if row.promise is not None}
        asked = set(promises)
        for trick in TRICKS.in_order():
            if trick.name not in promises and trick.timm_active(dict(settings)):
                promise = trick.timm_promise(dict(settings))
                if promise is not None:
                    promises[trick.name] = promise
        if run.args.rank != 0:
            promises = {}
        evidence: dict[str, Evidence] = {
            name: build_evidence(name, one) for name, one in promises.items()}
        if run.args.rank == 0 and run.scheduler is not None and not any(
                isinstance(one, RateEvidence) for one in evidence.values()):
            evidence[_SCHEDULE] = RateEvidence()
        self.monitor = Monitor(
            self.training, evidence, strict=strict, judged=asked, logger=_logger, first=None,
            folder=None if run.output_dir is None else Path(run.output_dir))

    def start(self) -> None:
        """Lets every measurement attach itself; before the first epoch, when all is built."""
        self.training.watch()
        self.monitor.start()

    def on_ask(self, first: bool) -> None:
        """Measures nothing; see `tricks_plugin.timm.loop.Observer`."""

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Measures a batch as it arrives at the model.

        Args:
            epoch: Counted from 0.
            images: Shape (B, C, H, W).
            targets: Shape (B,) or (B, K).
        """
        self.training.begin(epoch, images, targets)
        self.monitor.before_iteration()

    def after_batch(self, loss: torch.Tensor) -> None:
        """Measures an iteration; after the optimizer's step and the average's, before the next LR.

        Args:
            loss: The batch's loss, a scalar on the device.
        """
        self.training.end({'loss': loss})
        self.monitor.after_iteration()

    def epoch_end(self, epoch: int) -> None:
        """Reports where a report is due.

        Args:
            epoch: The one that ended, counted from 0.

        Raises:
            DeadTrickError: Under ``strict``, if a trick shows no effect.
        """
        self.monitor.after_epoch()

    def close(self, failed: bool = False) -> None:
        """Reports once more, if anything was trained, and detaches.

        Args:
            failed: Whether an error ends the training.
        """
        try:
            self.monitor.close(failed)
        finally:
            self.training.release()
