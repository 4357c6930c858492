"""Measures, in the running training, that the learning rate follows the planned curve."""

from __future__ import annotations

import math
from typing import Any

from ...evidence import Evidence, Finding

__all__ = ['LearningRateEvidence']

_TOLERANCE = 1e-6
_ENOUGH = 2


class LearningRateEvidence(Evidence):
    """Compares the LR of every parameter group with the closed form, before every iteration.

    The closed form is computed here a second time, from the run's real length and each group's
    ``initial_lr``, and with the half-angle identity; the scheduler is not asked.

    Args:
        warmup_epochs: Planned length of the warm-up, in epochs.
        warmup_iters: The same in iterations.
        eta_min: Planned LR at the end.
        fit_warmup: Whether a warm-up of more than half of the run is shortened to a tenth.
        optimizers: Names of the optimizers that were planned for; None for all.
    """

    def __init__(
        self,
        warmup_epochs: float | None = None,
        warmup_iters: int | None = None,
        eta_min: float = 0.0,
        fit_warmup: bool = False,
        optimizers: list[str] | None = None,
    ) -> None:
        self._length = warmup_epochs if warmup_iters is None else warmup_iters
        self._in_epochs = warmup_iters is None
        self._eta_min = eta_min
        self._fit = fit_warmup
        self._names = optimizers
        self._warmup = self._total = 0
        self._seen = 0
        self._unscheduled = False
        self._worst = 0.0
        self._worst_at: int | None = None
        self._marks: dict[str, float] = {}
        self._joint_passed = False

    def start(self, runner: Any) -> None:
        """Works out the run's real length and the warm-up's, in iterations."""
        self._total = int(runner.max_iters)
        length = self._length or 0
        iterations = round(length * len(runner.train_dataloader)) if self._in_epochs else length
        if self._fit and iterations > self._total / 2:
            iterations = round(self._total / 10)
        self._warmup = int(iterations)

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Compares the LR of the coming iteration."""
        step = runner.iter
        warming = step < self._warmup
        part = step / self._warmup if warming else self._cosine(step)
        largest, shown = -1.0, 0.0
        # One group per parameter is usual in mmengine; most of them share their two numbers.
        for now, base in {(group['lr'], group.get('initial_lr')) for group in self._groups(runner)}:
            if base is None:
                self._unscheduled = True
                continue
            floor = 0.0 if warming else self._eta_min
            off = abs(now - floor - (base - floor) * part) / (base or 1.0)
            if off > self._worst:
                self._worst, self._worst_at = off, step
            if base > largest:
                largest, shown = base, now
        self._seen += 1
        if step == 0:
            self._marks['first'] = shown
        if step == self._warmup:
            self._marks['joint'] = shown
            self._joint_passed = True
        self._marks['now'] = shown

    def _cosine(self, step: int) -> float:
        """The share of the way from ``eta_min`` to the base LR that is left."""
        turn = (step - self._warmup) / max(self._total - self._warmup, 1)
        return math.cos(0.5 * math.pi * min(turn, 1.0)) ** 2

    def _groups(self, runner: Any) -> list[dict[str, Any]]:
        """The parameter groups of the optimizers that were planned for."""
        wrapper = runner.optim_wrapper
        if not hasattr(wrapper, 'optim_wrappers'):
            return wrapper.optimizer.param_groups
        return [group for name, inner in wrapper.items()
                if self._names is None or name in self._names
                for group in inner.optimizer.param_groups]

    def switched(self, runner: Any) -> bool:
        """True once, when the first iteration after the warm-up was measured."""
        passed, self._joint_passed = self._joint_passed, False
        return passed and self._warmup > 0

    def finding(self, runner: Any) -> Finding:
        """The LR at iteration 0, at the end of the warm-up and now, and the largest deviation."""
        planned = (f'0 to the base LR in {self._warmup} iterations, then cosine to '
                   f'{self._eta_min:g} at iteration {self._total}')
        wrong = self._unscheduled or self._worst > _TOLERANCE
        live = False if wrong else True if self._seen >= _ENOUGH else None
        words = [f'{self._marks[key]:.4g} {place}' for key, place in (
            ('first', 'at iteration 0'), ('joint', f'at {self._warmup}'), ('now', 'now'),
        ) if key in self._marks]
        words.append(f'off the curve by at most {self._worst:.1e} of the base LR in {self._seen} '
                     'iterations' + (f' (at iteration {self._worst_at})' if wrong else ''))
        if self._unscheduled:
            words.append('groups without a scheduler')
        return Finding(planned, live, '; '.join(words), {
            'lr_at_0': self._marks.get('first'), 'lr_at_warmup_end': self._marks.get('joint'),
            'lr_now': self._marks.get('now'), 'max_relative_deviation': self._worst,
            'iterations': self._seen, 'warmup_iters': self._warmup, 'total_iters': self._total,
        })
