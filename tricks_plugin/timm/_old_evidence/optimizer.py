"""Measures the batch behind an update with its LR, and each parameter's weight decay."""

from __future__ import annotations

import collections
import fnmatch
import math
from typing import Any

import torch

from ...evidence import Finding
from ...tricks.no_bias_decay.functional import bias_and_norm_parameters
from .base import Measurement

__all__ = ['BatchMeasurement', 'DecayMeasurement']

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


class DecayMeasurement(Measurement):
    """Reads the weight decay of every parameter from the optimizer's groups."""

    trick = 'no_bias_decay'

    @classmethod
    def active(cls, run: Any) -> bool:
        """With a weight decay, which timm keeps off vectors unless it is told otherwise."""
        args = run.args
        return bool(args.weight_decay) and (args.opt_kwargs or {}).get('filter_bias_and_bn', True)

    def finding(self) -> Finding:
        """Counts the parameters with and without decay."""
        model, names = self.run.model, {}
        for name, parameter in model.named_parameters():
            names[id(parameter)] = name
        exempt = set(bias_and_norm_parameters(model))
        free, wrong, decays, bare, vectors = 0, [], [], [], 0
        for group in self.run.optimizer.param_groups:
            decay = float(group.get('weight_decay', 0.0))
            for parameter in group['params']:
                name = names.get(id(parameter), '?')
                if name in exempt and decay:
                    wrong.append(name)
                elif name in exempt:
                    free += 1
                elif decay:
                    decays.append(decay)
                elif parameter.dim() <= 1:
                    vectors += 1
                elif not self._by_model(name):
                    bare.append(name)
        planned = f'no decay on biases and norms, {self.run.args.weight_decay or 0:g} elsewhere'
        live = bool(free) and not wrong and not bare and bool(decays)
        return Finding(planned, live if self.run.args.weight_decay else None,
                       _decay_words(free, wrong, decays, bare, vectors),
                       {'without_decay': free, 'wrongly_decayed': wrong,
                        'decays': sorted(set(decays)), 'others_decayed': len(decays),
                        'others_not_decayed': bare, 'other_vectors_not_decayed': vectors})

    def _by_model(self, name: str) -> bool:
        """Whether the model itself asks for no decay on a parameter, as on position embeddings."""
        asked = getattr(self.run.model, 'no_weight_decay', None)
        patterns = asked() if callable(asked) else ()
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _decay_words(
    free: int, wrong: list[str], decays: list[float], bare: list[str], vectors: int,
) -> str:
    rates = '/'.join(f'{value:g}' for value in sorted(set(decays))) or '0'
    text = (f'{free} of {free + len(wrong)} bias and norm parameters without decay; '
            f'{len(decays)} others decay {rates}')
    if vectors:
        text += f', {vectors} other vectors do not'
    for names, words in ((wrong, 'with decay'), (bare, 'weights without decay')):
        if names:
            text += f'; {words}: {", ".join(names[:3])}{", ..." if names[3:] else ""}'
    return text
