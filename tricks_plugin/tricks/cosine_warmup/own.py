"""What a config's own schedule has already: its warm-up, its cosine or steps, its last LR."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ...mm.config_edit import RunLength, is_a, type_name
from ...mm.schedules import is_constant_warmup, is_lr, is_warmup

__all__ = ['ONE_CYCLE', 'Floor', 'Warmup', 'found_already', 'own_floor', 'own_steps', 'own_warmup',
           'unfinished']

ONE_CYCLE = ('OneCycleLR', 'OneCycleParamScheduler')
_STEPS = ('MultiStepLR', 'StepLR', 'MultiStepParamScheduler', 'StepParamScheduler')
_DONE = 0.9  # of its descent: a cosine that a run takes so far is the run's
_COSINE = ('CosineAnnealingLR', 'CosineAnnealingParamScheduler')


@dataclasses.dataclass(frozen=True)
class Warmup:
    """A warm-up's length in its own unit, and whose it is: given, advised, own, default."""

    length: float
    by_epoch: bool
    origin: str

    def __str__(self) -> str:
        unit = 'epoch' if self.by_epoch else 'iteration'
        return f'{self.length:.12g} {unit}{"" if self.length == 1 else "s"}'


@dataclasses.dataclass(frozen=True)
class Floor:
    """The LR at the end: setting and value, and a clause where that needs one."""

    key: str = 'eta_min'
    value: float = 0.0
    note: str = ''

    def __str__(self) -> str:
        share = ' of the base LR' if self.key == 'eta_min_ratio' else ''
        return f'{self.value:g}{share}'


def own_floor(items: list[dict[str, Any]], scope: str) -> Floor:
    """The LR at which the config's own schedule ends, if it says one."""
    for item in reversed([item for item in items if is_lr(item, scope)]):
        for key in ('eta_min_ratio', 'eta_min', 'min_value', 'min_lr'):
            value = item.get(key)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
                key = key if key == 'eta_min_ratio' else 'eta_min'
                return Floor(key, value, f" (the config's own {key})")
    return Floor()


def found_already(items: list[dict[str, Any]], scope: str) -> str:
    """What an optimizer's schedule has already, in a sentence; empty if it lacks something."""
    lr = [item for item in items if is_lr(item, scope)]
    if any(is_a(item, 'WarmupCosineLR', scope=scope) for item in lr):
        return 'the config has WarmupCosineLR already'
    if any(is_a(item, *ONE_CYCLE, scope=scope) for item in lr):
        return 'the config has warm-up and cosine already (OneCycleLR)'
    ramp = next((item for item in lr if is_warmup(item, scope)), None)
    cosine = next((item for item in lr if is_a(item, *_COSINE, scope=scope)), None)
    if ramp is None or cosine is None:
        return ''
    return f'the config has warm-up ({type_name(ramp)}) and cosine ({type_name(cosine)}) already'


def unfinished(items: list[dict[str, Any]], scope: str, run: RunLength,
               epochs: Callable[[], tuple[int | None, bool]]) -> str:
    """That a schedule's cosine was made for a longer run, in a clause; empty if it was not.

    Args:
        items: The schedulers.
        scope: The config's default scope.
        run: The training's length.
        epochs: Tells the iterations in an epoch, None where that is not known, and whether images
            may be filtered out, so that it may be shorter: then it is taken as half as long where
            that is in the config's favour. Asked where a cosine has the other unit alone, as it
            reads annotation files; not known, nothing is said of such a cosine.
    """
    for item in items:
        if not is_lr(item, scope) or not is_a(item, *_COSINE, *ONE_CYCLE, scope=scope):
            continue
        name = f"the config's own {type_name(item)}"
        by_epoch, begin = bool(item.get('by_epoch', True)), item.get('begin', 0)
        if by_epoch and not run.by_epoch and not item.get('convert_to_iter_based'):
            return f'{name} counts epochs, and a run of iterations never steps it'
        length: float = run.value
        if by_epoch != run.by_epoch:
            each, filtered = epochs()
            if each is None:
                continue
            length = length * each if run.by_epoch else length / each * (2 if filtered else 1)
        end = item.get('end')
        stop = end if isinstance(end, (int, float)) and end < length else length
        steps = item.get('T_max', item.get('total_steps'))
        if steps is None and isinstance(end, (int, float)) and end != float('inf'):
            steps = end - begin
        span = steps if isinstance(steps, (int, float)) and steps > 0 else max(length - begin, 1)
        if stop - begin < _DONE * span:
            unit = 'epoch' if by_epoch else 'iteration'
            return f'{name} ends at {unit} {begin + span:g}, and the run has {_words(run)}'
    return ''


def _words(run: RunLength) -> str:
    unit = 'epoch' if run.by_epoch else 'iteration'
    return f'{run.value} {unit}{"" if run.value == 1 else "s"}'


def own_warmup(items: list[dict[str, Any]], scope: str) -> Warmup | None:
    """The length of the warm-up that a schedule has, if it says one."""
    for item in items:
        if is_a(item, 'WarmupCosineLR', scope=scope):
            for unit in ('epochs', 'iters'):
                if isinstance(item.get(f'warmup_{unit}'), (int, float)):
                    return Warmup(item[f'warmup_{unit}'], unit == 'epochs', 'own')
        end = item.get('end')
        if not isinstance(end, (int, float)) or isinstance(end, bool) or end <= 0:
            continue
        if is_warmup(item, scope) or is_constant_warmup(item, scope):
            return Warmup(end, bool(item.get('by_epoch', True)), 'own')
    return None


def own_steps(items: list[dict[str, Any]], scope: str) -> dict[str, Any] | None:
    """The step decay of a schedule, if it has one."""
    return next((item for item in items if is_lr(item, scope) and is_a(
        item, *_STEPS, scope=scope)), None)
