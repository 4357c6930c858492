"""Measures, from the targets that arrive, how many images are mixed, and that mixing ends."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ...evidence import Finding
from .base import Measurement

__all__ = ['MixupMeasurement']

_FIRST, _EVERY = 32, 8  # batches looked at before the switch: the epoch's first, then each eighth
_VISIBLE = 0.6  # at least this share of mixed batches shows it: partners may be of one class
_DOUBT = 1e-3  # an all-unmixed run of batches less likely than this is a fault


@dataclasses.dataclass
class _Phase:
    """What was seen before or after the switch."""

    batches: int = 0
    samples: int = 0
    mixed_batches: int = 0
    mixed: int = 0
    share_sum: float = 0.0
    share_max: float = 0.0
    shares_of: int = 0
    pending: list[torch.Tensor] = dataclasses.field(default_factory=list)
    pending_shares: list[torch.Tensor] = dataclasses.field(default_factory=list)

    def reduce(self) -> None:
        """Reads the counts from the device, all at once."""
        if self.pending:
            counts = torch.stack(self.pending).tolist()
            self.mixed_batches += sum(count > 0 for count in counts)
            self.mixed += sum(counts)
        if self.pending_shares:
            for mixed, total, largest in torch.stack(self.pending_shares).tolist():
                self.shares_of += int(mixed)
                self.share_sum += total
                self.share_max = max(self.share_max, largest)
        self.pending, self.pending_shares = [], []


class MixupMeasurement(Measurement):
    """Counts the rows of the targets that hold two classes above the background.

    A row of timm's mixed targets is ``lam`` of one class and ``1 - lam`` of another, over a
    background that smoothing makes equal for all other classes. Two images of one class look
    unmixed. Before the switch some batches are looked at, after it every single one, and none may
    hold a mixed row.
    """

    trick = 'mixup'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self.on, self.off = _Phase(), _Phase()
        self._epoch, self._in_epoch = -1, 0

    @classmethod
    def active(cls, run: Any) -> bool:
        """With mixup or cutmix."""
        args = run.args
        return bool(args.mixup > 0 or args.cutmix > 0 or args.cutmix_minmax is not None)

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Counts the mixed rows of a batch, on its device."""
        if epoch != self._epoch:
            self._epoch, self._in_epoch = epoch, 0
        self._in_epoch += 1
        off_from = self.run.args.mixup_off_epoch
        after = bool(off_from) and epoch >= off_from
        if not after and self._in_epoch > _FIRST and self._in_epoch % _EVERY:
            return
        phase = self.off if after else self.on
        phase.batches += 1
        phase.samples += len(targets)
        if targets.dim() != 2:  # class numbers: nothing is mixed
            return
        background = self._background(targets)
        mixed = (targets > background).sum(1) > 1
        phase.pending.append(mixed.sum())
        if not after:
            phase.pending_shares.append(_shares(targets, background, mixed))

    def _background(self, targets: torch.Tensor) -> Any:
        """What every class but the mixed ones has; of two classes none need have it."""
        classes = targets.shape[1]
        if classes > 2:
            return targets.amin(1, keepdim=True)
        return torch.full_like(targets[:, :1], self.run.args.smoothing / classes * (1 + 1e-6))

    def finding(self) -> Finding:
        """The share of mixed batches and samples before and after the switch."""
        self.on.reduce()
        self.off.reduce()
        on, off = self.on, self.off
        verdicts = [self._before(), off.mixed == 0 if off.batches else None]
        live = None if verdicts == [None, None] else False not in verdicts
        return Finding(self._planned(), live, self._measured(), {
            'batches': on.batches, 'mixed_batches': on.mixed_batches,
            'samples': on.samples, 'mixed_samples': on.mixed,
            'share_mean': on.share_sum / on.shares_of if on.shares_of else None,
            'share_max': on.share_max if on.shares_of else None,
            'batches_after_switch': off.batches, 'mixed_batches_after_switch': off.mixed_batches,
            'samples_after_switch': off.samples, 'mixed_samples_after_switch': off.mixed})

    def _before(self) -> bool | None:
        if self.on.mixed:
            return True
        unseen = 1 - _VISIBLE * min(float(self.run.args.mixup_prob), 1.0)
        return False if unseen ** self.on.batches < _DOUBT else None

    def _planned(self) -> str:
        args = self.run.args
        words = [f'{name} {value:g}' for name, value in (
            ('mixup', args.mixup), ('cutmix', args.cutmix)) if value > 0]
        if args.cutmix_minmax is not None:
            words.append('cutmix of given areas')
        words = words or ['mixup']
        if args.mixup_prob != 1:
            words.append(f'prob {args.mixup_prob:g}')
        if args.mixup_off_epoch and args.mixup_off_epoch < self.run.num_epochs:
            return ', '.join([*words, f'off from epoch {args.mixup_off_epoch}'])
        return ', '.join([*words, 'on to the end'])

    def _measured(self) -> str:
        on, off = self.on, self.off
        parts = []
        if on.batches:
            parts.append(f'{on.mixed_batches} of {on.batches} batches mixed ({on.mixed} of '
                         f'{on.samples} samples)')
        if on.shares_of:
            parts.append(f'the smaller share {on.share_sum / on.shares_of:.3f} on average, up to '
                         f'{on.share_max:.3f}')
        if off.batches:
            parts.append(f'after the switch {off.mixed_batches} of {off.batches} batches '
                         f'({off.mixed} of {off.samples} samples)')
        return '; '.join(parts) or 'no batch seen'


def _shares(targets: torch.Tensor, background: Any, mixed: torch.Tensor) -> torch.Tensor:
    """Count, sum and maximum of the mixed rows' smaller share, in [0, 0.5]."""
    top = targets.topk(2, dim=1).values - background
    share = (top[:, 1] / top.sum(1)) * mixed
    return torch.stack([mixed.sum().to(share.dtype), share.sum(), share.max()])
