"""Measures that the learning rate follows its closed form, update by update."""

from __future__ import annotations

import bisect
import dataclasses
import math
from typing import Any

from ...evidence import Finding
from .base import Measurement

__all__ = ['Curve', 'ScheduleMeasurement']

_TOLERANCE = 1e-6
_ENOUGH = 2
_TRICKS = {'cosine_warmup': ('cosine',), 'step_decay': ('step', 'multistep')}


@dataclasses.dataclass(frozen=True)
class Curve:
    """The LR as a function of the time t, in epochs or updates; timm's schedule is not asked.

    Attributes:
        kind: timm's name: ``cosine``, ``step``, ``multistep``, ``constant``; empty for none of
            these, or where noise, cycles or a power leave no closed form here.
        per_update: Whether t counts updates; else epochs.
        warmup: Length of the linear warm-up, in t.
        warmup_lr: The LR at t = 0 where there is a warm-up.
        prefix: Whether the schedule's own time begins after the warm-up.
        length: Length of the cosine, in t.
        eta_min: The cosine's last LR.
        points: Times of the multi-step decay, as timm is given them: it takes each of them one
            step early, at t = point - 1.
        interval: Time between two steps of the step decay.
        gamma: What a step multiplies by.
    """

    kind: str
    per_update: bool
    warmup: float
    warmup_lr: float
    prefix: bool
    length: float
    eta_min: float
    points: tuple[float, ...]
    interval: float
    gamma: float

    @classmethod
    def from_args(cls, args: Any, updates_per_epoch: int) -> Curve:
        """The curve that timm's flags describe.

        Args:
            args: timm's settings.
            updates_per_epoch: Optimizer steps in an epoch.
        """
        unit = updates_per_epoch if args.sched_on_updates else 1
        odd = args.lr_noise is not None or (args.sched == 'cosine' and (
            args.lr_cycle_mul != 1 or args.lr_cycle_limit != 1 or args.lr_k_decay != 1))
        known = args.sched in ('cosine', 'step', 'multistep', 'constant') and not odd
        return cls(
            kind=args.sched if known else '', per_update=bool(args.sched_on_updates),
            warmup=args.warmup_epochs * unit, warmup_lr=args.warmup_lr,
            prefix=bool(args.warmup_prefix), length=args.epochs * unit, eta_min=args.min_lr,
            points=tuple(point * unit for point in args.decay_milestones or ()),
            interval=(90 if args.decay_epochs is None else args.decay_epochs) * unit,
            gamma=args.decay_rate)

    def at(self, time: int, base: float) -> float:
        """The LR at a time.

        Args:
            time: Counted from 0.
            base: The group's LR before any schedule.
        """
        if time < self.warmup:
            return self.warmup_lr + (base - self.warmup_lr) * (time / self.warmup)
        own = time - self.warmup if self.prefix else time
        if self.kind == 'cosine':
            # The half-angle form of (1 + cos) / 2.
            left = math.cos(0.5 * math.pi * min(own / self.length, 1.0)) ** 2
            return self.eta_min + (base - self.eta_min) * left
        if self.kind == 'multistep':
            return base * self.gamma ** bisect.bisect_right(self.points, own + 1)
        return base * self.gamma ** (own // self.interval) if self.kind == 'step' else base

    def words(self) -> str:
        """The curve in words."""
        unit = 'update' if self.per_update else 'epoch'
        start = self.warmup if self.prefix else 0
        parts = []
        if self.warmup:
            parts.append(f'from {self.warmup_lr:g} to the base LR in {self.warmup:g} {unit}s')
        if self.kind == 'cosine':
            parts.append(f'cosine to {self.eta_min:g} at {unit} {start + self.length:g}')
        elif self.kind == 'multistep':
            times = ', '.join(f'{start + point - 1:g}' for point in self.points)
            parts.append(f'times {self.gamma:g} at {unit} {times}')
        elif self.kind == 'step':
            parts.append(f'times {self.gamma:g} every {self.interval:g} {unit}s')
        elif self.kind == 'constant':
            parts.append('constant')
        return ', then '.join(parts)


class ScheduleMeasurement(Measurement):
    """Compares the LR of every parameter group with the curve, at every update.

    Args:
        run: The training.
        trick: The row's name: the trick that promised the schedule, or ``sched``.
    """

    def __init__(self, run: Any, trick: str) -> None:
        super().__init__(run)
        self._name = trick
        self._curve = Curve.from_args(run.args, run.updates_per_epoch)
        self._bases: list[tuple[float, float]] = []
        self._main = 0
        self._warming = False
        self._seen = 0
        self._worst, self._worst_at = 0.0, -1
        self._marks: dict[str, tuple[float, int]] = {}

    def start(self) -> None:
        """Notes every group's LR before the schedule, and its factor in it."""
        self._bases = [
            (float(group.get('initial_lr', group['lr'])),
             float(group.get('lr_scale', 1.0)) if self.run.scheduler is not None else 1.0)
            for group in self.run.optimizer.param_groups]
        products = [base * scale for base, scale in self._bases]
        self._main = products.index(max(products))

    def on_update(self, update: int) -> None:
        """Compares the LR that the update was made with."""
        curve, groups = self._curve, self.run.optimizer.param_groups
        time = update if curve.per_update else update // self.run.updates_per_epoch
        if curve.kind:
            now = {(float(group['lr']), *base)
                   for group, base in zip(groups, self._bases, strict=True)}
            for lr, base, scale in now:
                off = abs(lr - curve.at(time, base) * scale) / (base * scale or 1.0)
                if not off <= self._worst:  # also where it is not a number
                    self._worst = off if off == off else math.inf
                    self._worst_at = update
        self._seen += 1
        self._mark(float(groups[self._main]['lr']), update, time)

    def _mark(self, lr: float, update: int, time: int) -> None:
        marks, here = self._marks, (lr, update)
        marks.setdefault('first', here)
        if time < self._curve.warmup:
            self._warming = True
        elif self._warming:
            marks.setdefault('warmup_end', here)
        marks['largest'] = max(marks.get('largest', here), here, key=lambda mark: mark[0])
        marks['smallest'] = min(marks.get('smallest', here), here, key=lambda mark: mark[0])
        marks['last'] = here

    def finding(self) -> Finding:
        """The LRs at the telling updates, and the largest deviation."""
        sched = self.run.args.sched
        live = self._live()
        planned = self._curve.words() if self._curve.kind else f'schedule {sched!r}'
        if sched not in _TRICKS.get(self._name, (sched,)):
            live, planned = False, f'schedule {" or ".join(_TRICKS[self._name])}'
        words = [f'{lr:.6g} at update {update} ({name.replace("_", " ")})'
                 for name, (lr, update) in self._marks.items()]
        if self._curve.kind and self._seen:
            words.append(f'off the curve by at most {self._worst:.1e} of the base LR in '
                         f'{self._seen} updates'
                         + (f' (at update {self._worst_at})' if self._wrong else ''))
        elif self._seen:
            words.append(f'{self._seen} updates, not compared: {sched!r} with these flags has no '
                         'closed form here')
        values: dict[str, Any] = {f'lr_{name}': lr for name, (lr, _) in self._marks.items()}
        values |= {f'{name}_at': update for name, (_, update) in self._marks.items()}
        return Finding(planned, live, '; '.join(words) or 'no update yet', {
            **values, 'updates': self._seen,
            'max_relative_deviation':
                self._worst if self._curve.kind and math.isfinite(self._worst) else None})

    @property
    def _wrong(self) -> bool:
        return self._worst > _TOLERANCE

    def _live(self) -> bool | None:
        if self._curve.kind:
            return False if self._wrong else True if self._seen >= _ENOUGH else None
        changed = self._seen and self._marks['largest'][0] > self._marks['smallest'][0]
        return True if changed else None
