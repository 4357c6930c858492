"""Measures that the guard sees the losses of the running training."""

from __future__ import annotations

from ...evidence import Evidence, Finding, Training
from .hook import FiniteGuardHook

__all__ = ['FiniteGuardEvidence']


class FiniteGuardEvidence(Evidence):
    """Counts the iterations, and compares them with those that the guard has watched."""

    def __init__(self) -> None:
        self._iterations = 0

    def after_iteration(self, training: Training) -> None:
        """Counts one."""
        self._iterations += 1

    def finding(self, training: Training) -> Finding:
        """How many iterations' losses the guard has seen."""
        guard = training.component(FiniteGuardHook)
        if guard is None:
            return Finding('a guard against losses that are not finite', False, 'no guard at work')
        planned = f'stops after {guard.limit} iterations in a row without a finite loss'
        live = None if not self._iterations else guard.watched >= self._iterations
        return Finding(planned, live,
                       f'the losses of {guard.watched} of {self._iterations} iterations watched',
                       {'watched': guard.watched, 'iterations': self._iterations,
                        'unreadable': guard.unreadable})
