"""Measures that the guard sees the losses of the running training."""

from __future__ import annotations

from ...common.finite import NonFinite
from ...evidence import Evidence, Finding, Training

__all__ = ['FiniteGuardEvidence']


class FiniteGuardEvidence(Evidence):
    """Counts the losses, and compares them with those that the guard has watched.

    mmengine's guard takes the loss of each iteration, timm's that of each update.
    """

    def __init__(self) -> None:
        self._iterations = 0

    def after_iteration(self, training: Training) -> None:
        """Counts one."""
        self._iterations += 1

    def finding(self, training: Training) -> Finding:
        """How many losses the guard has seen, of those that there were."""
        watch = training.component(NonFinite)
        if watch is None:
            return Finding('a guard against losses that are not finite', False, 'no guard at work')
        due = self._iterations if watch.unit == 'iterations' else training.attempts
        planned = f'stops after {watch.limit} {watch.unit} in a row without a finite loss'
        return Finding(planned, watch.added >= due if due else None,
                       f'the losses of {watch.added} of {due} {watch.unit} watched',
                       {'watched': watch.added, watch.unit: due})
