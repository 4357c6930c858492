"""Measures the batch behind an update with its LR."""

from __future__ import annotations

import collections
import math
from typing import Any

import torch

from ...evidence import Finding
from .base import Measurement

__all__ = ['BatchMeasurement']

_AVERAGED = 0.1  # by how much the mean of drawn batch sizes may miss their expectation


class BatchMeasurement(Measurement):
    """Counts the images behind each update, and compares the base LR with the scaling rule."""

    trick = 'linear_lr'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._images = 0
        self._counts: collections.Counter[int] = collections.Counter()
        self._lrs: list[float] = []
        self._world = 1

    @classmethod
    def active(cls, run: Any) -> bool:
        """Where the LR was derived linearly; one that the user gave keeps no rule."""
        args = run.args
        return args.lr_base_scale == 'linear' and math.isclose(
            args.lr, _scaled(args, _planned_images(run)))

    def start(self) -> None:
        """Notes the groups' LRs before the schedule, and asks for the number of processes."""
        from torch import distributed
        if distributed.is_available() and distributed.is_initialized():
            self._world = distributed.get_world_size()
        self._lrs = sorted({float(group.get('initial_lr', group['lr']))
                            for group in self.run.optimizer.param_groups})

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Counts the images; views of one image by augmentation splits count once."""
        self._images += len(images) // max(1, self.run.args.aug_splits)

    def on_update(self, update: int) -> None:
        """Closes the count of an update."""
        self._counts[self._images] += 1
        self._images = 0

    def finding(self) -> Finding:
        """The images per update and the LR, against ``lr_base * images / lr_base_size``."""
        args, expected = self.run.args, _planned_images(self.run)
        planned = (f'{expected:g} images per update, LR {args.lr_base:g} x {expected:g} / '
                   f'{args.lr_base_size:g} = {_scaled(args, expected):g}')
        if args.lr_base_scale == 'sqrt':
            planned = (f'{expected:g} images per update, LR {args.lr_base:g} x sqrt({expected:g} / '
                       f'{args.lr_base_size:g}) = {_scaled(args, expected):g}')
        if not self._counts:
            return Finding(planned, None, 'no update yet')
        updates = sum(self._counts.values())
        mean = sum(n * times for n, times in self._counts.items()) / updates * self._world
        seen = float(self._counts.most_common(1)[0][0] * self._world)
        if len(set(args.train_batch_sizes or ())) > 1:
            close = abs(mean - expected) <= _AVERAGED * expected
            seen, right = mean, close or (None if updates < 100 else False)
            wanted = _scaled(args, expected)
        else:
            right, wanted = seen == expected, _scaled(args, seen)
        fits = any(math.isclose(lr, wanted, rel_tol=1e-6) for lr in self._lrs)
        live = right if fits else False
        rates = ', '.join(f'{lr:g}' for lr in self._lrs[:3])
        measured = (f'{seen:g} images per update ({self._world} process(es)), for which the rule '
                    f'gives {wanted:g}; base LR {rates}')
        return Finding(planned, live, measured, {
            'images_per_update': seen, 'mean_images_per_update': mean, 'updates': updates,
            'processes': self._world, 'base_lrs': self._lrs, 'lr_by_the_rule': wanted})


def _planned_images(run: Any) -> float:
    return float(run.reference_batch) * run.args.world_size * run.args.grad_accum_steps


def _scaled(args: Any, images: float) -> float:
    """The LR by the rule that the flags choose; linear by Goyal et al. (arXiv 1706.02677) 2.1."""
    ratio = images / args.lr_base_size
    return float(args.lr_base * (ratio ** 0.5 if args.lr_base_scale == 'sqrt' else ratio))
