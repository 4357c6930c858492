"""Measures, in the running training, that the learning rate falls where it should."""

from __future__ import annotations

from typing import Any

from ...evidence import Evidence, Finding

__all__ = ['StepEvidence']

_TOLERANCE = 1e-6


class StepEvidence(Evidence):
    """Compares every group's LR with the steps passed, from the end of the warm-up on.

    Args:
        milestones: In epochs or iterations.
        by_epoch: Which of the two.
        gamma: What each step multiplies by.
        warmup: Length and unit (by epoch or not) of each warm-up that stays in front.
    """

    def __init__(self, milestones: list[int], by_epoch: bool, gamma: float,
                 warmup: list[list[Any]]) -> None:
        self._points = milestones
        self._by_epoch = by_epoch
        self._gamma = gamma
        self._warmup = warmup
        self._seen = self._level = 0
        self._worst = 0.0
        self._factor: float | None = None
        self._fell = False

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Compares the LR of the coming iteration."""
        if any((runner.epoch if by_epoch else runner.iter) < end for end, by_epoch in self._warmup):
            return
        now = runner.epoch if self._by_epoch else runner.iter
        level = len([point for point in self._points if point <= now])
        wrapper = runner.optim_wrapper
        inner = wrapper.values() if hasattr(wrapper, 'optim_wrappers') else [wrapper]
        for lr, base in {(group['lr'], group.get('initial_lr'))
                         for item in inner for group in item.optimizer.param_groups}:
            if not base:
                self._worst = float('inf')
                continue
            self._factor = lr / base
            self._worst = max(self._worst, abs(self._factor * self._gamma ** -level - 1))
        self._fell = self._fell or level > self._level
        self._level = level
        self._seen += 1

    def switched(self, runner: Any) -> bool:
        """True at every step of the LR."""
        fell, self._fell = self._fell, False
        return fell

    def finding(self, runner: Any) -> Finding:
        """The share of the base LR now, and the largest deviation so far."""
        unit = 'epoch' if self._by_epoch else 'iteration'
        planned = f'times {self._gamma:g} at {unit} {", ".join(map(str, self._points))}'
        live = None if not self._seen else self._worst <= _TOLERANCE
        measured = 'still warming up' if self._factor is None else (
            f'{self._factor:.4g} of the base LR after {self._level} step(s); off by at most '
            f'{self._worst:.1e} in {self._seen} iterations')
        return Finding(planned, live, measured, {
            'factor': self._factor, 'steps': self._level, 'iterations': self._seen,
            'max_relative_deviation': self._worst})
