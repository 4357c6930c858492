"""The learning rate over time that timm's settings describe."""

from __future__ import annotations

from typing import Any

from ..evidence import Curve
from ..evidence.learning_rate import Clock

__all__ = ['curve']


def curve(args: Any, updates_per_epoch: int) -> Curve:
    """The curve of the settings; timm's own schedule is not asked.

    Args:
        args: timm's settings by attribute.
        updates_per_epoch: Optimizer steps in an epoch.

    Returns:
        Not closed for the other schedules of timm's, and where noise, cycles or a power leave no
        closed form.
    """
    unit = updates_per_epoch if args.sched_on_updates else 1
    odd = args.lr_noise is not None or (args.sched == 'cosine' and (
        args.lr_cycle_mul != 1 or args.lr_cycle_limit != 1 or args.lr_k_decay != 1))
    known = args.sched in ('cosine', 'step', 'multistep', 'constant', 'none') and not odd
    clock: Clock = 'update' if args.sched_on_updates else 'epoch'
    return Curve(
        kind='constant' if args.sched == 'none' else args.sched, closed=known, clock=clock,
        warmups=((args.warmup_epochs * unit, clock),) if args.warmup_epochs else (),
        start=args.warmup_lr, prefix=bool(args.warmup_prefix), length=args.epochs * unit,
        eta_min=args.min_lr,
        # timm takes each point one step early.
        points=tuple(point * unit - 1 for point in args.decay_milestones or ())
        if args.sched == 'multistep' else (),
        interval=(90 if args.decay_epochs is None else args.decay_epochs) * unit,
        gamma=args.decay_rate, scaled=True)
