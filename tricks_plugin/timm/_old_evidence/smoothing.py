"""Measures the targets that the criterion really pulls the outputs to."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.loss import BinaryCrossEntropy

from ...evidence import Finding
from ...tricks.label_smoothing.functional import targets as smooth_targets
from .base import Measurement

__all__ = ['SmoothingMeasurement', 'effective_targets']

_ROWS = 8
_HALF = (torch.float16, torch.bfloat16)


def effective_targets(
    criterion: Any, targets: torch.Tensor, num_classes: int,
) -> torch.Tensor:
    """The target distribution of a loss, derived from its gradient.

    The gradient of a cross entropy's mean over n rows with respect to the logits is
    ``(softmax - q) / n``; at logits of zero the softmax is 1 / K, which leaves q. The same holds
    with a sigmoid, 1/2 and K more terms for timm's binary cross entropy. Of the Jensen-Shannon
    loss, whose divergence is flat at equal logits, it gives the targets of its cross entropy.
    No other tensor gets a gradient, and no random number is drawn.

    Args:
        criterion: Called as ``criterion(logits, targets)``.
        targets: Shape (n,), class numbers, or (n, K), shares of the classes.
        num_classes: K.

    Returns:
        Shape (n, K), float64 where the device has it, on the targets' device.
    """
    rows = len(targets)
    dtype = torch.float32 if targets.device.type == 'mps' else torch.float64
    splits = getattr(criterion, 'num_splits', 1)
    if targets.is_floating_point():
        targets = targets.to(dtype)
    with torch.enable_grad():
        logits = torch.zeros(rows * splits, num_classes, dtype=dtype, device=targets.device,
                             requires_grad=True)
        gradient, = torch.autograd.grad(criterion(logits, targets), logits)
    gradient = gradient[:rows] * rows
    if isinstance(criterion, BinaryCrossEntropy):
        terms = 1 if criterion.sum_classes else num_classes
        positive = 1.0 if criterion.pos_weight is None else criterion.pos_weight.to(dtype)
        return (1 - 2 * gradient * terms) / (1 + positive)
    return 1 / num_classes - gradient


class SmoothingMeasurement(Measurement):
    """Derives the effective targets of a few rows of each epoch's first batch."""

    trick = 'label_smoothing'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._epoch = -1
        self._pending: list[torch.Tensor] = []
        self._rows = 0
        self._low: list[float] = []  # smallest and largest background, one pair per epoch
        self._true: list[float] = []  # smallest and largest target of the unmixed rows' classes
        self._largest = 0.0

    @classmethod
    def active(cls, run: Any) -> bool:
        """With smoothing."""
        return bool(run.args.smoothing and run.args.smoothing > 0)

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Looks at the first batch of an epoch."""
        if epoch == self._epoch or not len(targets):
            return
        self._epoch = epoch
        self._pending.append(effective_targets(
            self.run.task.criterion, targets[:_ROWS], self.run.args.num_classes))

    def _reduce(self) -> None:
        for seen in self._pending:
            background = seen.amin(1)
            plain = (seen > background[:, None] + 1e-7).sum(1) <= 1
            # Of two classes a mixed row shows no background.
            shown = background if seen.shape[1] > 2 else background[plain]
            self._rows += len(seen)
            self._low += _ends(shown)
            self._true += _ends(seen.amax(1)[plain])
            self._largest = max(self._largest, float(seen.max()))
        self._pending = []

    def finding(self) -> Finding:
        """The smallest and the largest target, against the closed form."""
        self._reduce()
        classes, smoothing = self.run.args.num_classes, float(self.run.args.smoothing or 0)
        if classes < 2:
            return Finding('smoothing', None, 'with one output there is nothing to spread over')
        true, other = smooth_targets('szegedy', smoothing, classes)
        planned = f'true {true:.6g}, others {other:.6g} of {classes} classes'
        if not self._low:
            return Finding(planned, None, 'no batch seen' if not self._rows else
                           'only mixed rows of two classes seen')
        low, high = min(self._low), max(self._true, default=self._largest)
        # In 16 bits timm's per-image shares are rounded before they meet the targets.
        slack = 1e-2 if self.run.model_dtype in _HALF else 1e-4
        live = smoothing > 0 and all(
            math.isclose(one, other, rel_tol=slack) for one in self._low) and all(
            math.isclose(one, true, rel_tol=slack / 100) for one in self._true)
        measured = (f'targets from {low:.6g} to {high:.6g} in {self._rows} rows: smoothing '
                    f"{low * classes:.6g}, which is He's eps {low * (classes - 1):.6g}")
        if not self._true:
            measured += '; all rows were mixed'
        return Finding(planned, live, measured, {
            'smallest': low, 'largest': high, 'rows': self._rows, 'classes': classes,
            'smoothing': low * classes, 'he_eps': low * (classes - 1)})


def _ends(values: torch.Tensor) -> list[float]:
    """Smallest and largest; nothing of nothing."""
    return torch.stack([values.min(), values.max()]).tolist() if len(values) else []
