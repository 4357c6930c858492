"""The learning rate over time that a plain config describes, for the measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ..evidence import Curve
from ..evidence.learning_rate import Clock
from .config_edit import default_scope, is_a, optim_wrappers, type_name
from .schedules import driver, is_lr, is_warmup, scheduler_lists, slow_groups

__all__ = ['RunUnits', 'asked_rates', 'curves', 'group_scales']

_COSINES = ('CosineAnnealingLR', 'CosineAnnealingParamScheduler', 'OneCycleLR',
            'OneCycleParamScheduler')


@dataclasses.dataclass(frozen=True)
class RunUnits:
    """What turns epochs into iterations.

    Attributes:
        epoch_length: Iterations in an epoch.
        max_iterations: Length of the run.
    """

    epoch_length: int
    max_iterations: int


def curves(cfg: dict[str, Any], names: Iterable[str], units: RunUnits) -> dict[str, Curve]:
    """The curve of each optimizer.

    Args:
        cfg: The run's config, plain.
        names: The optimizers; ``''`` for the only one.
        units: Of the run.
    """
    lists = scheduler_lists(cfg.get('param_scheduler'))
    if lists is None or driver(cfg):
        return {name: Curve('', closed=False) for name in names}
    scope = default_scope(cfg)
    return {name: _curve([item for item in lists.get(name, lists.get('', []))
                          if is_lr(item, scope)], scope, units) for name in names}


def asked_rates(cfg: dict[str, Any]) -> dict[str, float]:
    """The LR that a config names for each optimizer; under OneCycleLR its peak."""
    scope = default_scope(cfg)
    lists = scheduler_lists(cfg.get('param_scheduler')) or {}
    found = {}
    for path, wrapper in optim_wrappers(cfg):
        name = path.partition('.')[2]
        peaks = [item.get('eta_max') for item in lists.get(name, lists.get('', []))
                 if is_lr(item, scope)
                 and is_a(item, 'OneCycleLR', 'OneCycleParamScheduler', scope=scope)]
        rate = peaks[0] if peaks else wrapper['optimizer'].get('lr')
        if isinstance(rate, (int, float)):
            found[name] = float(rate)
    return found


def group_scales(cfg: dict[str, Any]) -> dict[str, list[float]]:
    """By what ``paramwise_cfg`` multiplies some groups' LR, by optimizer; without 0 and 1."""
    found = {}
    for path, wrapper in optim_wrappers(cfg):
        lr = wrapper['optimizer'].get('lr')
        if isinstance(lr, (int, float)) and lr:
            scales = {rate / lr for rate in slow_groups(wrapper, cfg).values()} - {0.0, 1.0}
            found[path.partition('.')[2]] = sorted(scales)
    return found


def _curve(items: list[dict[str, Any]], scope: str, units: RunUnits) -> Curve:
    """The curve of one optimizer's LR schedulers."""
    if len(items) == 1 and is_a(items[0], 'WarmupCosineLR', scope=scope):
        return _warmup_cosine(items[0], units)
    ramps = [item for item in items if is_warmup(item, scope)]
    rest = [item for item in items if item not in ramps]
    if not rest and not ramps:
        return Curve('constant')
    kind = next((words for words, names in (
        ('cosine', _COSINES), ('multistep', ('MultiStepLR', 'MultiStepParamScheduler')),
        ('step', ('StepLR', 'StepParamScheduler'))) if any(
            is_a(item, *names, scope=scope) for item in rest)),
        type_name(rest[0]) if rest else 'constant')
    if len(rest) > 1 or kind not in ('multistep', 'step', 'constant') or (
            rest and rest[0].get('begin', 0)):
        return Curve(kind, closed=False)
    warmups = tuple(_moment(item, item.get('end', float('inf')), units) for item in ramps)
    if not rest:
        return Curve(kind, warmups=warmups)
    node = rest[0]
    end, clock = _moment(node, node.get('end', float('inf')), units)
    if kind == 'step':
        interval, _ = _moment(node, node.get('step_size', float('inf')), units)
        return Curve(kind, closed=end == float('inf'), clock=clock, warmups=warmups,
                     interval=interval, gamma=node.get('gamma', 0.1))
    points = [_moment(node, point, units)[0] for point in node.get('milestones', ())]
    return Curve(kind, clock=clock, warmups=warmups, gamma=node.get('gamma', 0.1),
                 points=tuple(sorted(point for point in points if point < end)))


def _moment(node: dict[str, Any], time: float, units: RunUnits) -> tuple[float, Clock]:
    """A scheduler's own time, with the clock that counts it."""
    if not node.get('by_epoch', True):
        return time, 'iteration'
    return (time * units.epoch_length, 'iteration') if node.get('convert_to_iter_based') else \
        (time, 'epoch')


def _warmup_cosine(node: dict[str, Any], units: RunUnits) -> Curve:
    """The curve of `WarmupCosineLR`, its lengths worked out a second time."""
    epoch = units.epoch_length if node.get('convert_to_iter_based') else 1
    total = node.get('total_iters') if epoch > 1 or node.get('convert_to_iter_based') else None
    if total is None:
        total = round(node['end'] * epoch) if 'end' in node else units.max_iterations
    warmup = node['warmup_iters'] if node.get('warmup_iters') is not None else \
        round((node.get('warmup_epochs') or 0) * epoch)
    if node.get('fit_warmup') and 2 * warmup > total:
        warmup = round(total / 10)
    flat = node.get('flat_fraction', 0.0) * (total - warmup)
    return Curve(
        'cosine', flat=flat, closed=not node.get('begin', 0) and total > warmup,
        warmups=((warmup, 'iteration'),) if warmup else (), start=0.0, prefix=True,
        length=total - warmup, eta_min=node.get('eta_min', 0.0),
        eta_ratio=node.get('eta_min_ratio'))
