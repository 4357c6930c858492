"""Plays timm's own scheduler on an optimizer without a model, and notes what it sets."""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

from ..common.processes import world_size
from ..common.rates import EpochLength, Rates
from ..plan.errors import TrickError
from .boundary import naming
from .checks import check_settings
from .data import build_datasets
from .facts import facts
from .settings import changed, prepare, with_classes, with_lr

__all__ = ['epoch_length', 'scheduled_rates']


def epoch_length(args: argparse.Namespace) -> EpochLength:
    """The optimizer's updates in an epoch: the training images are listed, and none is read.

    Args:
        args: timm's settings, after the tricks.

    Raises:
        TrickError: If the settings name no data, or data that cannot be used.
    """
    if not (args.data_dir or args.data):
        raise TrickError('the length of an epoch is not known: name the folder of the images, or '
                         'give --iters-per-epoch N')
    silent = changed(args, device='cpu', val_split='', data_cache=None)
    silent, _ = prepare(silent)
    train, _ = build_datasets(with_classes(silent, facts(vars(silent)).get('num_classes', 0)),
                              'RGB')
    with naming('the length of the training data is not known'):
        images = len(train)
    processes, size = world_size('any'), _batch_size(args)
    batches = args.train_batches_per_epoch or int(math.ceil(images / processes) // size)
    steps = math.ceil(batches / max(1, args.grad_accum_steps))
    if not steps:
        raise TrickError(f'{images} training images in {processes} processes do not fill one batch '
                         f'of {size:g}')
    words = f'{images} images in batches of {size:g}'
    words += f' on {processes} processes' if processes > 1 else ''
    words += f', {args.grad_accum_steps} to an update' if args.grad_accum_steps > 1 else ''
    return EpochLength(steps, f'counted: {words}', images)


def _batch_size(args: argparse.Namespace) -> float:
    """The mean batch of a process."""
    sizes = args.train_batch_sizes
    if not sizes:
        return float(args.batch_size)
    weights = args.train_size_probs or [1.0] * len(sizes)
    return sum(map(lambda size, weight: size * weight, sizes, weights)) / sum(weights)


def scheduled_rates(
    args: argparse.Namespace, given: Collection[str], label: str, epoch: EpochLength,
) -> Rates:
    """What timm's scheduler sets before each update.

    Args:
        args: timm's settings, after the tricks.
        given: The names that the user set.
        label: Of the curve.
        epoch: The updates in an epoch.

    Raises:
        TrickError: If the settings contradict each other, or timm refuses them.
    """
    check_settings(args, given)
    args = changed(args, grad_accum_steps=max(1, args.grad_accum_steps), rank=1,
                   world_size=world_size('any'))
    args = with_lr(args, _batch_size(args))
    notes = []
    if args.layer_decay is not None:
        notes.append(f'--layer-decay {args.layer_decay:g}: drawn is the LR of the last layer')
    if args.sched == 'plateau':
        notes.append('plateau follows a metric that only the training gives: drawn as if it got '
                     'better in every epoch')
    with naming(f'--opt {args.opt}'):
        options: dict[str, Any] = {**optimizer_kwargs(cfg=args), 'layer_decay': None}
        optimizer = create_optimizer_v2(
            [torch.nn.Parameter(torch.zeros(2, 2))], **options, **args.opt_kwargs)
    with naming(f'--sched {args.sched}'):
        scheduler, epochs = create_scheduler_v2(
            optimizer, updates_per_epoch=epoch.steps, **scheduler_kwargs(args))
    lr, momentum = _play(optimizer, scheduler, epochs, epoch.steps, args)
    return Rates(label, lr, momentum, unit='update', epoch=epoch, notes=tuple(notes))


def _play(
    optimizer: torch.optim.Optimizer, scheduler: Any, epochs: int, updates: int,
    args: argparse.Namespace,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps the scheduler as the training's loop does."""
    group = optimizer.param_groups[0]
    lr, momentum = np.empty((epochs * updates, 1)), np.empty(epochs * updates)
    often = scheduler is not None and args.sched_on_updates
    for epoch in range(epochs):
        start, end = epoch * updates, (epoch + 1) * updates
        lr[start:end], momentum[start:end] = group['lr'], _momentum(group)
        for update in range(start + 1, end + 1) if often else ():
            scheduler.step_update(num_updates=update)
            lr[update:update + 1] = group['lr']
        if scheduler is not None:
            better = -epoch if 'loss' in args.eval_metric else epoch
            scheduler.step(epoch + 1, better)
    return lr, momentum


def _momentum(group: dict[str, Any]) -> float:
    value = group['betas'][0] if 'betas' in group else group.get('momentum')
    return math.nan if value is None else float(value)
