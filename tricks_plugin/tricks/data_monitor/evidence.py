"""Measures that the monitor follows every iteration of the running training."""

from __future__ import annotations

from ...common.waiting.monitor import DataMonitor
from ...evidence import Evidence, Finding, Training

__all__ = ['DataMonitorEvidence']


class DataMonitorEvidence(Evidence):
    """Counts the iterations, and compares them with those whose waiting is known."""

    def __init__(self) -> None:
        self._iterations = 0

    def after_iteration(self, training: Training) -> None:
        """Counts one."""
        self._iterations += 1

    def finding(self, training: Training) -> Finding:
        """The share of the time that was spent waiting, and of how many iterations it is known."""
        monitor = training.component(DataMonitor)
        planned = 'the share of the time spent waiting for data, in every iteration'
        if monitor is None:
            return Finding(planned, False, 'no monitor at work')
        known, share = monitor.meter.iterations, monitor.share
        live = None if not self._iterations else known >= self._iterations
        return Finding(planned, live, f'{share:.1%} at the last look; known for {known} of '
                       f'{self._iterations} iterations',
                       {'share': share, 'known': known, 'iterations': self._iterations})
