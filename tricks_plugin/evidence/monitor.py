"""Drives the measurements of a training, in either trainer, and reports them."""

from __future__ import annotations

import importlib
import inspect
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..plan.errors import TrickError
from ..plan.registry import TRICKS
from . import report
from .base import DeadTrickError, Evidence, Finding
from .training import Training

__all__ = ['FILE', 'Monitor', 'build_evidence']

FILE = 'tricks_evidence.json'


def build_evidence(name: str, promise: Mapping[str, Any] | None) -> Evidence:
    """The measurement of a trick.

    Args:
        name: The trick.
        promise: Keywords of its `Evidence`.

    Raises:
        TrickError: If there is no such trick, or its `Evidence` does not take the keywords, as
            where a config was dumped by another version.
    """
    module, _, cls = TRICKS.get(name).evidence.partition(':')
    kind = getattr(importlib.import_module(module), cls)
    known = inspect.signature(kind)
    try:
        known.bind(**(promise or {}))
    except TypeError as error:
        raise TrickError(
            f'evidence of {name}: {error}, got {promise!r} (known: '
            f'{", ".join(known.parameters) or "none"}); a config that another version of '
            'tricks_plugin has written needs it mended by hand, or the tricks applied anew to the '
            'config that it was made from') from None
    return kind(**(promise or {}))


class Monitor:
    """Measures tricks and writes a table "planned | live | measured".

    The table is logged after the first iterations, or with the first epoch's end if that comes
    sooner, when a trick switches, when one turns out to have no effect, and at the end.
    ``tricks_evidence.json`` holds the latest table, the earlier ones, and the share of the
    training's time that measuring took. A trick without effect is an error in the log. A
    measurement that fails by an error of its own is dropped with a warning, and the run goes on:
    its row says that it is unknown whether the trick is live.

    Args:
        training: What is measured.
        measurements: By trick, or another name for what no trick asked for.
        strict: Whether a trick without effect stops the run.
        judged: The names that ``strict`` looks at; by default all.
        folder: Where the file goes; None writes none.
        logger: Where the tables go.
        first: Iterations before the first table; None waits for the first epoch's end, and holds
            back later tables to the end of their epoch.
    """

    def __init__(
        self, training: Training, measurements: Mapping[str, Evidence], *, strict: bool = False,
        judged: Collection[str] | None = None, folder: Path | None = None,
        logger: logging.Logger, first: int | None = 20,
    ) -> None:
        self.training = training
        self.measurements = dict(measurements)
        self._strict = strict
        self._judged = set(self.measurements if judged is None else judged)
        self._folder = folder
        self._logger = logger
        self._first = first
        self._seen = 0
        self._spent = self._elapsed = 0.0
        self._began = self._last = 0.0
        self._updates = 0
        self._reported: tuple[int, int] | None = None
        self._switched: list[str] = []
        self._dead: set[str] = set()
        self._broken: dict[str, str] = {}
        self._planned: dict[str, str] = {}
        self._history: list[dict[str, Any]] = []

    def start(self) -> None:
        """Lets every measurement attach itself."""
        for name in self.measurements:
            self._ask(name, 'start')
        self._updates = self.training.updates

    def before_iteration(self) -> None:
        """Measures what is set for this iteration, and its batch."""
        begin = time.perf_counter()
        self._began = self._began or begin
        for name in self.measurements:
            self._ask(name, 'before_iteration')
        self._last = time.perf_counter()
        self._spent += self._last - begin

    def after_iteration(self) -> None:
        """Measures what arrived, and reports where a report is due.

        Raises:
            DeadTrickError: Under ``strict``, if a trick that is judged shows no effect.
        """
        begin = time.perf_counter()
        self._seen += 1
        stepped = self.training.updates != self._updates
        self._updates = self.training.updates
        for name in self.measurements:
            self._ask(name, 'after_iteration')
            if stepped:
                self._ask(name, 'on_update')
            if self._ask(name, 'switched'):
                self._switched.append(name)
        self._last = time.perf_counter()
        self._spent += self._last - begin
        if self._first is None:
            return
        if self._switched:
            self._report(self._take_switched())
        elif self._seen == self._first:
            self._report(f'after {self._first} iterations')

    def after_epoch(self) -> None:
        """Reports at the end of an epoch where a report is due; every trick is judged.

        Raises:
            DeadTrickError: Under ``strict``, if a trick that is judged shows no effect.
        """
        if not self._seen:
            return
        self._elapsed += self._last - self._began
        self._began = self._last = 0.0
        if self._switched:
            self._report(self._take_switched())
        elif self._reported is None:
            self._report('after the first epoch')
        else:
            findings = self._findings()
            if _dead(findings) - self._dead:
                self._report(f'after epoch {self.training.epoch}', findings)

    def close(self, failed: bool = False) -> None:
        """Reports once more, if anything was trained, and detaches.

        Args:
            failed: Whether an error ends the training: then it is not hidden by another one.

        Raises:
            DeadTrickError: Under ``strict``, if a trick that is judged shows no effect.
        """
        try:
            if self._seen:
                self._report('at the end', judge=not failed)
        finally:
            for name in self.measurements:
                if name not in self._broken:
                    self._detach(name)
            self.measurements, self._seen = {}, 0

    def _take_switched(self) -> str:
        names, self._switched = self._switched, []
        return f'{", ".join(dict.fromkeys(names))} switched'

    def _ask(self, name: str, method: str) -> Any:
        """What a measurement answers; None once it has failed, be it now or before."""
        if name in self._broken:
            return None
        try:
            answer = getattr(self.measurements[name], method)(self.training)
            if method == 'finding' and not isinstance(answer, Finding):
                raise TypeError(f'finding() must return a Finding, got {answer!r}')
            return answer
        except Exception as error:  # a fault in measuring is no reason to end a run
            self._broken[name] = f'{type(error).__name__}: {error}'
            self._logger.warning(
                'from here on it is not measured whether trick %r is live: its measurement failed '
                'by a fault of its own, and the training goes on', name, exc_info=True)
            self._detach(name)
            return None

    def _detach(self, name: str) -> bool:
        """Removes what a measurement has attached; says whether it could."""
        try:
            self.measurements[name].close()
        except Exception:  # the others are still to be detached
            self._logger.warning('the measurement of %r could not be detached', name,
                                 exc_info=True)
            return False
        return True

    def _findings(self) -> dict[str, Finding]:
        found = {}
        for name in self.measurements:
            finding = self._ask(name, 'finding')
            if name in self._broken:
                error = self._broken[name]
                finding = Finding(self._planned.get(name, ''), None,
                                  f'could not be measured: {error}', error=error)
            self._planned[name] = finding.planned
            found[name] = finding
        return found

    def _report(self, when: str, findings: dict[str, Finding] | None = None,
                judge: bool = True) -> None:
        training = self.training
        findings = self._findings() if findings is None else findings
        if not findings:  # a process that measures nothing reports nothing
            return
        elapsed = self._elapsed + (self._last - self._began)
        cost = self._spent / max(elapsed, 1e-9)
        self._reported = (training.epoch, training.iteration)
        self._history.append({
            'when': when, 'iteration': training.iteration, 'epoch': training.epoch, 'cost': cost,
            'tricks': report.rows(findings)})
        self._logger.info('Evidence of the tricks, %s (measuring takes %.2f%% of the time):\n%s',
                          when, 100 * cost, report.table(findings))
        if self._folder is not None:
            report.write(self._folder / FILE, self._history)
        self._dead = _dead(findings)
        for name in sorted(self._dead):
            self._logger.error('trick %r shows no effect: planned %s; measured %s', name,
                               findings[name].planned, findings[name].measured)
        if judge and self._strict:
            self._stop(sorted(self._dead & self._judged))

    def _stop(self, dead: Iterable[str]) -> None:
        names = ', '.join(dead)
        if names:
            raise DeadTrickError(f'tricks without effect under tricks.strict=True: {names} (see '
                                 f'{FILE} in {self._folder})')


def _dead(findings: Mapping[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.live is False}
