"""The hook that measures, in the running training, what each applied trick really does."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from . import evidence_report
from .evidence import Evidence
from .tricks import TRICKS

__all__ = ['DeadTrickError', 'TrickEvidenceHook']


class DeadTrickError(RuntimeError):
    """A trick was planned as applied, and the running training shows no effect of it."""


def _build(name: str, settings: dict[str, Any]) -> Evidence:
    """The measurement of a trick."""
    module, _, cls = TRICKS.get(name).evidence.partition(':')
    return getattr(importlib.import_module(module), cls)(**settings)


@HOOKS.register_module()
class TrickEvidenceHook(Hook):
    """Measures the applied tricks and writes a table "planned | live | measured".

    The table is logged after the first iterations, whenever a trick switches, and at the end;
    ``tricks_evidence.json`` in the work dir holds the latest, and the share of time that measuring
    took. A trick without effect is an error in the log.

    Args:
        tricks: One ``dict(name=..., evidence=...)`` per applied trick.
        first: Iterations before the first table; at the latest it comes with the first epoch's
            end.
        strict: Whether a trick without effect stops the run.

    Raises:
        TrickError: If a trick's name is unknown.
    """

    # After every hook that edits the model or the learning rate of the coming iteration.
    priority = 'LOWEST'

    def __init__(self, tricks: list[dict[str, Any]], first: int = 20, strict: bool = False) -> None:
        self.first = first
        self.strict = strict
        self.evidence = {
            promise['name']: _build(promise['name'], dict(promise.get('evidence') or {}))
            for promise in tricks
        }
        self._seen = 0
        self._spent = self._since = 0.0
        self._reported = -1
        self._history: list[dict[str, Any]] = []

    def before_train(self, runner: Any) -> None:
        """Lets every measurement attach itself."""
        for evidence in self.evidence.values():
            evidence.start(runner)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Measures what is set for this iteration."""
        start = time.perf_counter()
        self._since = self._since or start
        for evidence in self.evidence.values():
            evidence.before_iter(runner, batch_idx, data_batch)
        self._spent += time.perf_counter() - start

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None,
    ) -> None:
        """Measures what arrived, and reports where a report is due."""
        start = time.perf_counter()
        self._seen += 1
        switched = [name for name, evidence in self.evidence.items()
                    if self._after(evidence, runner, batch_idx, data_batch)]
        self._spent += time.perf_counter() - start
        if switched:
            self._report(runner, f'{", ".join(switched)} switched')
        elif self._seen == self.first:
            self._report(runner, f'after {self.first} iterations')

    @staticmethod
    def _after(evidence: Evidence, runner: Any, batch_idx: int, data_batch: Any) -> bool:
        evidence.after_iter(runner, batch_idx, data_batch)
        return evidence.switched(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Reports after the first epoch where it is shorter than the first iterations."""
        if self._seen and self._reported < 0:
            self._report(runner, 'after the first epoch')

    def after_train(self, runner: Any) -> None:
        """Reports once more and detaches."""
        if self._seen:
            self._report(runner, 'at the end', iteration=runner.iter - 1)
        for evidence in self.evidence.values():
            evidence.close()

    def _report(self, runner: Any, when: str, iteration: int | None = None) -> None:
        iteration = runner.iter if iteration is None else iteration
        self._reported = iteration
        # The share of the training's time that measuring took, tables aside.
        cost = self._spent / max(time.perf_counter() - self._since, 1e-9)
        findings = {name: item.finding(runner) for name, item in self.evidence.items()}
        dead = [name for name, finding in findings.items() if finding.live is False]
        self._history.append({
            'when': when, 'iteration': iteration, 'epoch': runner.epoch, 'cost': cost,
            'tricks': evidence_report.rows(findings),
        })
        runner.logger.info(f'Evidence of the tricks, {when} (measuring takes {cost:.2%} of the '
                           f'time):\n{evidence_report.table(findings)}')
        if runner.rank == 0:
            evidence_report.write(
                Path(runner.work_dir) / 'tricks_evidence.json', self._history)
        for name in dead:
            message = (f'trick {name!r} was planned as applied and shows no effect: '
                       f'planned {findings[name].planned}; measured {findings[name].measured}')
            runner.logger.error(message)
        if dead and self.strict:
            raise DeadTrickError(
                f'tricks without effect under tricks.strict=True: {", ".join(dead)} '
                f'(see tricks_evidence.json in {runner.work_dir})'
            )
