"""Reading mixtures from batches: one reader per form in which a trainer delivers them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch

__all__ = ['Count', 'of_samples', 'of_targets']


@dataclasses.dataclass
class Count:
    """What was read of some batches.

    Attributes:
        batches: How many.
        mixed_batches: Those with a mixed sample.
        samples: Samples that can be told.
        mixed: The mixed ones among them.
        run: Since the last mixed one: samples that can be told, or batches of targets.
        chance: That these batches of targets all look unmixed though mixing works.
        shown: The probability that a batch of unlike partners shows that it was mixed.
        shares: How many shares of mixed samples were read.
        total: Their sum.
        low: The smallest.
        high: The largest.
    """

    batches: int = 0
    mixed_batches: int = 0
    samples: int = 0
    mixed: int = 0
    run: int = 0
    chance: float = 1.0
    shown: float = 1.0
    shares: int = 0
    total: float = 0.0
    low: float = float('inf')
    high: float = float('-inf')
    _pending: list[tuple[int, torch.Tensor, torch.Tensor]] = dataclasses.field(default_factory=list)

    def add(self, one: Count) -> None:
        """Adds what was read of one batch, which came after the others."""
        self.batches += one.batches
        self.mixed_batches += one.mixed_batches
        self.samples += one.samples
        self.mixed += one.mixed
        self.run = one.run if one.mixed else self.run + one.run
        self.chance = one.chance if one.mixed else self.chance * one.chance
        self.shares += one.shares
        self.total += one.total
        self.low = min(self.low, one.low)
        self.high = max(self.high, one.high)

    def wait_for(self, samples: int, numbers: torch.Tensor, alike: torch.Tensor) -> None:
        """Takes numbers that are still on the device; see `of_targets` and `partners_alike`."""
        self._pending.append((samples, numbers, alike))

    def reduce(self) -> None:
        """Reads the waiting numbers, all at once."""
        if not self._pending:
            return
        rows = torch.stack([torch.cat([numbers, alike.reshape(1)])
                            for _, numbers, alike in self._pending]).tolist()
        for (samples, _, _), (mixed, total, low, high, alike) in zip(
                self._pending, rows, strict=True):
            some = mixed > 0
            chance = 1.0 if some or not samples else 1 - self.shown * (1 - alike)
            self.add(Count(1, int(some), samples, int(mixed), int(bool(samples) and not some),
                           chance, shares=int(mixed), total=total,
                           low=low if some else float('inf'),
                           high=high if some else float('-inf')))
        self._pending = []


def of_samples(samples: Any) -> Count:
    """Reads mmdet's data samples, whose ``gt_instances.mixup_weights`` hold each box's share.

    A sample counts as mixed if a box of it has a weight other than 1; samples without boxes
    cannot be told.
    """
    count = Count(batches=1)
    for sample in samples if isinstance(samples, Iterable) else ():
        instances = getattr(sample, 'gt_instances', None)
        if instances is None or not len(instances):
            continue
        count.samples += 1
        weights = instances.get('mixup_weights')
        values = [] if weights is None else weights.tolist()
        if all(value == 1.0 for value in values):
            count.run += 1
            continue
        count.mixed += 1
        count.run = 0
        count.shares += len(values)
        count.total += sum(values)
        count.low, count.high = min(count.low, *values), max(count.high, *values)
    count.mixed_batches = int(count.mixed > 0)
    return count


def of_targets(targets: torch.Tensor, smoothing: float) -> tuple[int, torch.Tensor]:
    """Reads the targets of a classifier, without waiting for their device.

    A mixed row is ``lam`` of one class and ``1 - lam`` of another, over a background that
    smoothing makes equal for all other classes. Two images of one class look unmixed.

    Args:
        targets: Shape (B,), class numbers, or (B, K), shares of the classes.
        smoothing: timm's; of two classes none need show the background.

    Returns:
        The samples that can be told (none where K is 1), and a tensor of the mixed ones' number,
        and of the sum, the smallest and the largest of their smaller shares, in [0, 0.5].
    """
    if targets.dim() != 2 or targets.shape[1] < 2:
        told = 0 if targets.dim() == 2 else len(targets)
        return told, torch.zeros(4, device=targets.device)
    classes = targets.shape[1]
    targets = targets.float()
    if classes > 2:
        background = targets.amin(1, keepdim=True)
    else:
        background = torch.full_like(targets[:, :1], smoothing / classes * (1 + 1e-6))
    mixed = (targets > background).sum(1) > 1
    top = targets.topk(2, dim=1).values - background
    share = torch.where(mixed, top[:, 1] / top.sum(1), 0)
    low = torch.where(mixed, share, 1).min()
    return len(targets), torch.stack([mixed.sum().to(share.dtype), share.sum(), low, share.max()])
