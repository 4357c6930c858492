"""Drives the measurements of a timm training, and reports them."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from ...evidence import Finding
from ...evidence import report as evidence_report
from ...plan import Plan
from ...plan.errors import TrickError
from .base import Measurement, Unmeasured
from .mixing import MixupMeasurement
from .optimizer import BatchMeasurement
from .schedule import ScheduleMeasurement
from .shapes import ShapeMeasurement
from .smoothing import SmoothingMeasurement

__all__ = ['TimmEvidence']

_MEASUREMENTS: tuple[type[Measurement], ...] = (
    BatchMeasurement, SmoothingMeasurement, MixupMeasurement, ShapeMeasurement)
_SCHEDULES = ('cosine_warmup', 'step_decay')
_FILE = 'tricks_evidence.json'
_logger = logging.getLogger('tricks_plugin')


def _measurements(run: Any, planned: Collection[str]) -> dict[str, Measurement]:
    """The measurements of the planned tricks and of what timm's flags ask for, by row."""
    found: dict[str, Measurement] = {
        kind.trick: kind(run) for kind in _MEASUREMENTS
        if kind.trick in planned or kind.active(run)}
    schedule = next((name for name in _SCHEDULES if name in planned), 'sched')
    if schedule in planned or run.scheduler is not None:
        found[schedule] = ScheduleMeasurement(run, schedule)
    return found | {name: Unmeasured(run) for name in planned if name not in found}


class TimmEvidence:
    """Measures the tricks of a timm training and writes a table "planned | live | measured".

    The flags decide what is measured, so a training without ``--tricks`` is watched as well; the
    planned tricks have their row in any case. The table is logged after the first epoch, after
    the first one without mixup, when a trick turns out to have no effect, and at the end;
    ``tricks_evidence.json`` in the output folder holds the latest, the earlier ones and the share
    of the training's time that measuring took, tables aside. Only the first process measures.

    Args:
        run: The training, a `tricks_plugin.timm.run.Run`.
        plan: What the tricks set, or None.
        strict: Whether a trick without effect stops the training.
    """

    def __init__(self, run: Any, plan: Plan | None = None, strict: bool = False) -> None:
        self._run = run
        self._strict = strict
        planned = [row.name for row in plan.tricks
                   if row.status in ('applied', 'present')] if plan else []
        self.measurements = _measurements(run, planned) if run.args.rank == 0 else {}
        self._spent = self._elapsed = 0.0
        self._began = self._last = 0.0
        self._epoch = self._update = -1
        self._done: set[int] = set()
        self._dead: set[str] = set()
        self._history: list[dict[str, Any]] = []

    def start(self) -> None:
        """Lets every measurement attach itself; before the first epoch, when all is built."""
        for measurement in self.measurements.values():
            measurement.start()

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Measures a batch as it arrives at the model.

        Args:
            epoch: Counted from 0.
            images: Shape (B, C, H, W).
            targets: Shape (B,) or (B, K).
        """
        if not self.measurements:
            return
        begin = time.perf_counter()
        if epoch != self._epoch:
            self._elapsed += self._last - self._began
            self._epoch, self._began = epoch, begin
        for measurement in self.measurements.values():
            measurement.on_batch(epoch, images, targets)
        self._last = time.perf_counter()
        self._spent += self._last - begin

    def on_update(self, update: int) -> None:
        """Measures an update; after the optimizer's step, before the next LR is set.

        Args:
            update: Counted from 0 over the whole training.
        """
        if not self.measurements:
            return
        begin = time.perf_counter()
        self._update = update
        for measurement in self.measurements.values():
            measurement.on_update(update)
        self._last = time.perf_counter()
        self._spent += self._last - begin

    def epoch_end(self, epoch: int) -> None:
        """Reports where a report is due.

        Args:
            epoch: The one that ended, counted from 0.

        Raises:
            TrickError: Under ``strict``, if a trick shows no effect.
        """
        if not self.measurements:
            return
        findings = self._findings()
        dead = _dead(findings)
        when = ''
        if not self._done:
            when = 'after the first epoch'
        elif epoch == self._run.args.mixup_off_epoch and 'mixup' in self.measurements:
            when = 'after mixup went off'
        elif dead - self._dead:
            when = f'after epoch {epoch}'
        self._done.add(epoch)
        if when:
            self._report(findings, when, epoch)
        if dead and self._strict:
            raise TrickError(
                f'tricks without effect under strict: {", ".join(sorted(dead))} (see {_FILE} in '
                f'{self._run.output_dir})')

    def close(self) -> None:
        """Reports once more, if anything was trained, and detaches."""
        if self._epoch >= 0:
            self._report(self._findings(), 'at the end', self._epoch)
        for measurement in self.measurements.values():
            measurement.close()
        self.measurements = {}
        self._epoch = -1

    def _findings(self) -> dict[str, Finding]:
        return {name: one.finding() for name, one in self.measurements.items()}

    def _report(self, findings: dict[str, Finding], when: str, epoch: int) -> None:
        elapsed = self._elapsed + self._last - self._began
        cost = self._spent / max(elapsed, 1e-9)
        self._history.append({'when': when, 'iteration': self._update, 'epoch': epoch,
                              'cost': cost, 'tricks': evidence_report.rows(findings)})
        _logger.info('Evidence of the tricks, %s (measuring takes %.2f%% of the time):\n%s',
                     when, 100 * cost, evidence_report.table(findings))
        if self._run.output_dir is not None:
            evidence_report.write(Path(self._run.output_dir) / _FILE, self._history)
        self._dead = _dead(findings)
        for name in sorted(self._dead):
            _logger.error('trick %r shows no effect: planned %s; measured %s', name,
                          findings[name].planned, findings[name].measured)


def _dead(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.live is False}
