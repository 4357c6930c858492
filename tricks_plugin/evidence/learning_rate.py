"""The learning rate over time: what it should be, and the measurement that it is so."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from .base import Evidence, Finding
from .training import Training

__all__ = ['Clock', 'Curve', 'RateEvidence', 'base_lr']

Clock = Literal['iteration', 'update', 'epoch']

_TOLERANCE = 1e-6
_ENOUGH = 2


@dataclasses.dataclass(frozen=True)
class Curve:
    """The LR as a function of time, worked out from the run's settings; no schedule is asked.

    Attributes:
        kind: ``cosine``, ``step``, ``multistep``, ``constant``, or the trainer's name of another;
            empty where it is not known what sets the LR.
        closed: Whether the curve is known here as a function of time; never of other kinds.
        clock: What the schedule counts.
        warmups: Length and clock of each warm-up in front; the first one's clock is ``clock``
            where ``start`` is given.
        start: The LR at time 0 where there is a warm-up; None leaves the warm-up uncompared.
        prefix: Whether the schedule's own time begins after the warm-up.
        length: Length of the cosine, with the flat part in front of it.
        flat: Own time for which the LR stays at the base LR before the cosine.
        eta_min: The cosine's last LR.
        eta_ratio: The same as a share of the base LR; overrides ``eta_min``.
        points: Own times from which on the LR is multiplied once more.
        interval: Own time between two steps of the step decay.
        gamma: What a step multiplies by.
        scaled: Whether a group's ``lr_scale`` multiplies the scheduled LR.
    """

    kind: str
    closed: bool = True
    clock: Clock = 'iteration'
    warmups: tuple[tuple[float, Clock], ...] = ()
    start: float | None = None
    prefix: bool = False
    length: float = 0.0
    flat: float = 0.0
    eta_min: float = 0.0
    eta_ratio: float | None = None
    points: tuple[float, ...] = ()
    interval: float = math.inf
    gamma: float = 1.0
    scaled: bool = False

    @property
    def warmup(self) -> float:
        """The length of the first warm-up; 0 without one."""
        return self.warmups[0][0] if self.warmups else 0.0

    def warming(self, times: Mapping[str, float]) -> bool:
        """Whether a warm-up is under way."""
        return any(times[clock] < length for length, clock in self.warmups)

    def level(self, times: Mapping[str, float]) -> int:
        """How many steps of a multi-step decay have been made."""
        return bisect.bisect_right(self.points, self._own(times))

    def at(self, times: Mapping[str, float], base: float) -> float | None:
        """The LR at a time; None where it is not known.

        Args:
            times: Counted from 0, by clock.
            base: The group's LR before any schedule.
        """
        if not self.closed:
            return None
        if self.warming(times):
            if self.start is None:
                return None
            return self.start + (base - self.start) * (times[self.clock] / self.warmup)
        own = self._own(times)
        if self.kind == 'cosine':
            floor = self.eta_min if self.eta_ratio is None else base * self.eta_ratio
            # The half-angle form of (1 + cos) / 2.
            gone = max(own - self.flat, 0.0) / (self.length - self.flat)
            left = math.cos(0.5 * math.pi * min(gone, 1.0)) ** 2
            return floor + (base - floor) * left
        if self.kind == 'multistep':
            return base * self.gamma ** self.level(times)
        if self.kind == 'step':
            return base * self.gamma ** (own // self.interval)
        return base

    def words(self) -> str:
        """The curve in words."""
        if not self.closed:
            return f'schedule {self.kind or "unknown"}'
        start = self.warmup if self.prefix else 0.0
        parts = [f'from {self.start:g} to the base LR in {length:g} {clock}s'
                 if self.start is not None else f'a warm-up of {length:g} {clock}s'
                 for length, clock in self.warmups if length]
        if self.kind == 'cosine':
            floor = f'{self.eta_min:g}' if self.eta_ratio is None else \
                f'{self.eta_ratio:g} of the base LR'
            if self.flat:
                parts.append(f'flat to {self.clock} {start + self.flat:g}')
            parts.append(f'cosine to {floor} at {self.clock} {start + self.length:g}')
        elif self.kind == 'multistep':
            times = ', '.join(f'{start + point:g}' for point in self.points)
            parts.append(f'times {self.gamma:g} at {self.clock} {times}')
        elif self.kind == 'step':
            parts.append(f'times {self.gamma:g} every {self.interval:g} {self.clock}s')
        else:
            parts.append('constant')
        return ', then '.join(parts)

    def _own(self, times: Mapping[str, float]) -> float:
        return times[self.clock] - (self.warmup if self.prefix else 0.0)


def base_lr(group: Mapping[str, Any]) -> float:
    """A parameter group's LR before any schedule; under a one-cycle schedule its peak."""
    return float(group.get('max_lr', group.get('initial_lr', group['lr'])))


class RateEvidence(Evidence):
    """Compares the LR of every parameter group with the curve, at every iteration.

    A schedule without a closed form is shown, and not compared.

    Attributes:
        kinds: The kinds of curve that the trick promises; empty takes any.

    Args:
        optimizers: Names of the optimizers to look at; None for all.
    """

    kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optimizers: list[str] | None = None) -> None:
        self._names = optimizers
        self._curves: dict[str, Curve] = {}
        self._bases: dict[str, list[tuple[float | None, float]]] = {}
        self._per_epoch = 0
        self._seen = self._compared = 0
        self._worst, self._worst_at = 0.0, -1
        self._unscheduled = self._counted = False
        self._marks: dict[str, tuple[float, int]] = {}
        self._phase: tuple[bool, int] | None = None
        self._passed = self._stuck = False
        self._moved = (math.nan, 0)

    def start(self, training: Training) -> None:
        """Takes the curves of the run's settings, and every group's LR before the schedule."""
        self._curves = {name: curve for name, curve in training.schedule.items()
                        if self._names is None or name in self._names}
        for name in self._curves:
            self._note(name, training)
        counts = max(training.accumulation.values(), default=1)
        if any(curve.clock == 'update' for curve in self._curves.values()):
            self._per_epoch = math.ceil(training.epoch_length / counts)

    def before_iteration(self, training: Training) -> None:
        """Compares the LR of the coming iteration."""
        times = self._times(training)
        largest = shown = -1.0
        self._counted = False
        for name, curve in self._curves.items():
            groups = training.optimizers[name].param_groups
            if len(groups) != len(self._bases[name]):
                self._note(name, training)
            for lr, base, scale in {(float(group['lr']), *known) for group, known in zip(
                    groups, self._bases[name], strict=True)}:
                self._compare(curve, times, lr, base, scale)
                size = lr if base is None else base * scale
                if size > largest:
                    largest, shown = size, lr
        if self._curves:
            self._seen += 1
            self._compared += self._counted
            if shown != self._moved[0]:
                self._moved = (shown, training.iteration)
            self._mark(next(iter(self._curves.values())), times, shown)

    def switched(self, training: Training) -> bool:
        """True once when a warm-up is over, and at each step of a multi-step decay."""
        passed, self._passed = self._passed, False
        return passed and bool(self.kinds)

    def finding(self, training: Training) -> Finding:
        """The LRs at the telling iterations, and the largest deviation."""
        curve = next(iter(self._curves.values()), Curve('', closed=False))
        self._stuck = self._is_stuck(training)
        planned, live = curve.words(), self._live()
        if self._other_kind():
            planned, live = f'schedule {" or ".join(self.kinds)}', False
        words = [f'{lr:.6g} at {curve.clock} {time} ({name.replace("_", " ")})'
                 for name, (lr, time) in self._marks.items()]
        if self._compared:
            words.append(f'off the curve by at most {self._worst:.1e} of the base LR in '
                         f'{self._compared} iterations'
                         + (f' (at {curve.clock} {self._worst_at})' if self._wrong else ''))
        elif self._seen and curve.closed:
            words.append('still warming up' if curve.warmups else 'no schedule is at work')
        elif self._seen:
            words.append(f'{self._seen} iterations, measured, not compared: with these settings '
                         'the schedule has no closed form here'
                         + ('; still for more than half of the run' if self._stuck else ''))
        if self._unscheduled:
            words.append('groups without a scheduler')
        return Finding(planned, live, '; '.join(words) or 'no iteration yet', {
            **{f'lr_{name}': lr for name, (lr, _) in self._marks.items()},
            **{f'{name}_at': time for name, (_, time) in self._marks.items()},
            'iterations': self._seen, 'steps': self._phase[1] if self._phase else 0,
            'max_relative_deviation':
                self._worst if self._compared and math.isfinite(self._worst) else None})

    def _note(self, name: str, training: Training) -> None:
        scaled = self._curves[name].scaled
        self._bases[name] = [
            (float(group['initial_lr']) if 'initial_lr' in group else None,
             float(group.get('lr_scale', 1.0)) if scaled else 1.0)
            for group in training.optimizers[name].param_groups]

    def _times(self, training: Training) -> dict[str, float]:
        times: dict[str, float] = {'iteration': training.iteration, 'epoch': training.epoch}
        if self._per_epoch:
            within = training.iteration - training.epoch * training.epoch_length
            counts = max(training.accumulation.values(), default=1)
            times['update'] = training.epoch * self._per_epoch + within // counts
        return times

    def _compare(self, curve: Curve, times: dict[str, float], lr: float, base: float | None,
                 scale: float) -> None:
        if base is None:
            self._unscheduled |= curve.closed and curve.kind != 'constant'
            return
        wanted = curve.at(times, base)
        if wanted is None:
            return
        self._counted = True
        off = abs(lr - wanted * scale) / (base * scale or 1.0)
        if not off <= self._worst:  # also where it is not a number
            self._worst = off if off == off else math.inf
            self._worst_at = int(times[curve.clock])

    def _mark(self, curve: Curve, times: dict[str, float], lr: float) -> None:
        marks, here = self._marks, (lr, int(times[curve.clock]))
        marks.setdefault('first', here)
        phase = (curve.warming(times), curve.level(times))
        if self._phase is not None and phase != self._phase:
            self._passed = True
            if self._phase[0] and not phase[0]:
                marks.setdefault('warmup_end', here)
        self._phase = phase
        marks['largest'] = max(marks.get('largest', here), here, key=lambda mark: mark[0])
        marks['smallest'] = min(marks.get('smallest', here), here, key=lambda mark: mark[0])
        marks['last'] = here

    def _other_kind(self) -> bool:
        return bool(self.kinds) and any(
            curve.kind and curve.kind not in self.kinds for curve in self._curves.values())

    @property
    def _wrong(self) -> bool:
        return self._worst > _TOLERANCE

    def _is_stuck(self, training: Training) -> bool:
        """Whether the rate of a schedule without closed form has stood still for too long."""
        return self._seen > 0 and 2 * (training.iteration - self._moved[1]) > \
            training.max_iterations

    def _live(self) -> bool | None:
        if self._wrong or (self._seen and self._unscheduled):
            return False
        if all(curve.closed for curve in self._curves.values()):
            return True if self._compared >= _ENOUGH else None
        if self.kinds and self._stuck:
            return False
        moved = self._seen and self._marks['largest'][0] > self._marks['smallest'][0]
        return True if moved else None
