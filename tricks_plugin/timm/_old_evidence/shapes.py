"""Counts the sizes of the images that arrive at the model."""

from __future__ import annotations

import collections
from typing import Any

import torch

from ...evidence import Finding
from .base import Measurement

__all__ = ['ShapeMeasurement']

_DOUBT = 1e-3  # batches of one size only, when that is less likely than this, are a fault


class ShapeMeasurement(Measurement):
    """Counts sizes and batch sizes: several sizes must come, and none but the planned ones."""

    trick = 'random_shapes'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._seen: collections.Counter[tuple[int, int, int]] = collections.Counter()

    @classmethod
    def active(cls, run: Any) -> bool:
        """With ``train_img_sizes``."""
        return bool(run.args.train_img_sizes)

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Counts one batch."""
        self._seen[images.shape[-2], images.shape[-1], images.shape[0]] += 1

    def finding(self) -> Finding:
        """The sizes that arrived, against the planned ones."""
        sizes = list(self.run.args.train_img_sizes or ())
        planned = f'sizes {", ".join(map(str, sizes))} px' if sizes else 'several sizes'
        shapes: collections.Counter[str] = collections.Counter()
        batches: collections.Counter[int] = collections.Counter()
        for (height, width, images), times in self._seen.items():
            shapes[f'{height}x{width}'] += times
            batches[images] += times
        strange = sorted(set(shapes) - {f'{size}x{size}' for size in sizes})
        words = [', '.join(f'{count} of {shape}' for shape, count in sorted(shapes.items()))
                 or 'no batch seen']
        words += [f'batches of {"/".join(map(str, sorted(batches)))} images'] if batches else []
        words += [f'not planned: {", ".join(strange)}'] if strange else []
        return Finding(planned, self._live(len(shapes), len(strange)), '; '.join(words), {
            'batches': sum(shapes.values()), 'shapes': dict(shapes),
            'batch_sizes': {str(size): times for size, times in sorted(batches.items())},
            'not_planned': strange})

    def _live(self, distinct: int, strange: int) -> bool | None:
        args = self.run.args
        if strange or (distinct and not args.train_img_sizes):
            return False
        if distinct > 1:
            return True
        # A progressive schedule may stay with its first size for long.
        weights = args.train_size_probs or [1.0] * len(args.train_img_sizes or (1,))
        likeliest = max(weights) / sum(weights) if args.train_size_schedule == 'constant' else 1.0
        return False if likeliest ** sum(self._seen.values()) < _DOUBT else None
