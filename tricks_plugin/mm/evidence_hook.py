"""The hook that measures, in a training of mmengine's Runner, what each trick really does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ..evidence import DeadTrickError, Monitor, build_evidence
from ..plan import TrickError
from .resume import check_resumable, overruled
from .training import RunnerTraining

__all__ = ['DeadTrickError', 'TrickEvidenceHook']


@HOOKS.register_module()
class TrickEvidenceHook(Hook):
    """Measures the tricks of the plan; see `tricks_plugin.evidence.Monitor`.

    Args:
        tricks: One ``dict(name=..., promise=...)`` per trick that is applied or present.
        first: Iterations before the first table; at the latest it comes with the first epoch's
            end.
        strict: Whether a trick without effect stops the run.

    Raises:
        TrickError: If a trick's name or a keyword of its measurement is unknown.
    """

    # After every hook that edits the model or the learning rate of the coming iteration.
    priority = 'LOWEST'

    def __init__(self, tricks: list[dict[str, Any]], first: int = 20, strict: bool = False) -> None:
        self.first = first
        self.strict = strict
        wrong = [one for one in tricks if not isinstance(one, Mapping) or 'name' not in one]
        if wrong:
            raise TrickError('TrickEvidenceHook.tricks must hold dicts with a name, got '
                             f'{wrong[0]!r}')
        # `evidence` is what configs dumped before release 0.1 call it.
        self.measurements = {
            one['name']: build_evidence(one['name'], one.get('promise', one.get('evidence')))
            for one in tricks}
        self._monitor: Monitor | None = None
        self._training: RunnerTraining | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Refuses to resume from the state of another optimizer.

        Raises:
            TrickError: If the state does not fit.
        """
        check_resumable(runner, checkpoint)

    def before_train(self, runner: Any) -> None:
        """Lets every measurement attach itself."""
        self._training = RunnerTraining(runner)
        self._training.watch()
        if self._training.begun_at and (words := overruled(runner)):
            runner.logger.warning(
                'Resumed: the checkpoint overrules what the config has changed since: '
                f'{"; ".join(words)}. Train from its weights (load_from) to change them.')
        self._monitor = Monitor(
            self._training, self.measurements, strict=self.strict, logger=runner.logger,
            folder=Path(runner.work_dir) if runner.rank == 0 else None, first=self.first)
        self._monitor.start()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Measures what is set for this iteration."""
        if self._monitor is not None and self._training is not None:
            self._training.begin(data_batch)
            self._monitor.before_iteration()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None,
    ) -> None:
        """Measures what arrived, and reports where a report is due."""
        if self._monitor is not None and self._training is not None:
            self._training.end(outputs)
            self._monitor.after_iteration()

    def after_train_epoch(self, runner: Any) -> None:
        """Reports where a report is due."""
        if self._monitor is not None:
            self._monitor.after_epoch()

    def after_train(self, runner: Any) -> None:
        """Reports once more and detaches."""
        if self._monitor is not None and self._training is not None:
            monitor, self._monitor = self._monitor, None
            try:
                monitor.close()
            finally:
                self._training.release()
