"""Measures what share of the samples arrives mixed, and whether the losses are weighted."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from typing import Any

from ...evidence import Evidence, Finding
from .hook import SwitchTimes, mixup_transforms, switch_times
from .weighting.hook import MixUpWeightingHook

__all__ = ['MixUpEvidence']

_WINDOW = 20
_DOUBT = 1e-3  # an all-unmixed run of samples less likely than this is a fault


@dataclasses.dataclass
class _Count:
    """Samples with boxes, how many of them are mixed, and the weights of the mixed ones."""

    samples: int = 0
    mixed: int = 0
    boxes: int = 0
    total: float = 0.0
    low: float = float('inf')
    high: float = float('-inf')

    def add(self, other: _Count) -> None:
        self.samples += other.samples
        self.mixed += other.mixed
        self.boxes += other.boxes
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)


class MixUpEvidence(Evidence):
    """Reads ``gt_instances.mixup_weights`` of the batches that reach the model.

    A sample counts as mixed if a box of it carries a weight other than 1; samples without boxes
    cannot be told and are left out. Before the switch some must be mixed, after it none may be.

    Args:
        alpha: As planned.
        prob: As planned.
        off_fraction: As planned.
        off_epochs: As planned.
    """

    def __init__(self, alpha: float, prob: float, off_fraction: float,
                 off_epochs: int | None = None) -> None:
        self.alpha = alpha
        self.prob = prob
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self._times = SwitchTimes(True, 0, 0, 0, 0, 0)
        self._transforms: list[Any] = []
        self.on, self.off = _Count(), _Count()
        self._window: collections.deque[_Count] = collections.deque(maxlen=_WINDOW)
        self._weighting: MixUpWeightingHook | None = None
        self._switch_seen = self._switch_told = False

    def start(self, runner: Any) -> None:
        """Learns when the switch is due, and which hook weights the losses."""
        self._times = switch_times(runner, self.off_fraction, self.off_epochs)
        self._transforms = mixup_transforms(runner.train_dataloader.dataset)
        self._weighting = next(
            (hook for hook in runner.hooks if isinstance(hook, MixUpWeightingHook)), None)

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Counts one batch."""
        times = self._times
        now = runner.epoch if times.by_epoch else runner.iter
        if times.flip_from <= now < times.clean_from:
            return
        count = _count(_samples(data_batch))
        if now < times.flip_from:
            self._window.append(count)
            self.on.add(count)
        else:
            self.off.add(count)
            self._switch_seen = self._switch_seen or count.samples > count.mixed

    def switched(self, runner: Any) -> bool:
        """True once, when the first sample after the switch has arrived unmixed."""
        told, self._switch_told = self._switch_told, self._switch_seen
        return self._switch_seen and not told

    def finding(self, runner: Any) -> Finding:
        """The share of mixed samples before and after the switch, and the heads weighted."""
        recent = _Count()
        for count in self._window:
            recent.add(count)
        weighted = self._weighting.weighted_positives if self._weighting else 0
        heads = self._weighting.weighted_heads if self._weighting else []
        verdicts = [self._mixing(runner, recent), self._rest(runner),
                    self._weights_used(heads, weighted)]
        live = None
        if any(verdict is not None for verdict in verdicts):
            live = False not in verdicts
        values = {
            'samples': self.on.samples, 'mixed': self.on.mixed,
            'samples_after_switch': self.off.samples, 'mixed_after_switch': self.off.mixed,
            'window_samples': recent.samples, 'window_mixed': recent.mixed,
            'weight_min': self.on.low if self.on.boxes else None,
            'weight_max': self.on.high if self.on.boxes else None,
            'weight_mean': self.on.total / self.on.boxes if self.on.boxes else None,
            'weighted_heads': list(heads), 'weighted_positives': weighted,
            'unweighted_heads': list(self._weighting.unweighted_heads) if self._weighting else [],
            **self._shared_counts(),
        }
        return Finding(self._planned(), live, self._measured(recent, heads, weighted), values)

    def _shared_counts(self) -> dict[str, int]:
        """What the transforms of all worker processes counted."""
        counts = {name: sum(transform.shared.total(name) for transform in self._transforms)
                  for name in ('failed_partners', 'loaded_partners', 'dropped_proposals')}
        peaks = {name: max((transform.shared.peak(name) for transform in self._transforms),
                           default=0) for name in ('sample_bytes', 'cache_bytes')}
        return {**counts, **peaks}

    def _mixing(self, runner: Any, recent: _Count) -> bool | None:
        """Whether samples before the switch arrive mixed."""
        seen = recent if mixup_transforms(runner.train_dataloader.dataset) else self.on
        if seen.mixed:
            return seen.low >= 0.0 and seen.high <= 1.0
        # A worker that does not know its dataset has no partner for its first sample.
        tries = seen.samples - max(runner.train_dataloader.num_workers, 1)
        return False if tries > 0 and (1 - self.prob) ** tries < _DOUBT else None

    def _rest(self, runner: Any) -> bool | None:
        """Whether samples after the switch arrive unmixed."""
        return self.off.mixed == 0 if self.off.samples else None

    def _weights_used(self, heads: list[str], weighted: int) -> bool | None:
        """Whether a head that can be weighted was; None if no mixed sample came yet."""
        if self._weighting is None:
            return False
        if not heads or weighted:
            return True if heads else None
        return False if self.on.mixed >= 8 else None

    def _planned(self) -> str:
        times = self._times
        unit = 'epoch' if times.by_epoch else 'iteration'
        end = f'off from {unit} {times.off_from}' if times.off_from < times.total \
            else 'on to the end'
        share = '' if self.prob == 1 else f'prob {self.prob:g}, '
        return f'alpha {self.alpha:g}, {share}{end}'

    def _measured(self, recent: _Count, heads: list[str], weighted: int) -> str:
        parts = []
        if recent.samples:
            parts.append(f'{recent.mixed} of {recent.samples} samples mixed '
                         f'({len(self._window)} iterations before the switch)')
        if recent.mixed:
            parts.append(f'weights {recent.low:.2f} to {recent.high:.2f}')
        if self.off.samples:
            parts.append(f'{self.off.mixed} of {self.off.samples} after the switch')
        failed = self._shared_counts()['failed_partners']
        if failed:
            parts.append(f'{failed} partners failed to load')
        if heads:
            parts.append(f'{weighted} positives weighted in {", ".join(heads)}')
        else:
            parts.append('no head weighted')
        return '; '.join(parts)

    def close(self) -> None:
        """Drops the hook, which holds the model's heads, and the transforms."""
        self._weighting = None
        self._transforms = []


def _samples(data_batch: Any) -> Iterable[Any]:
    """The data samples of a batch in mmdet's form; none of any other form."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    return samples if isinstance(samples, (list, tuple)) else ()


def _count(samples: Iterable[Any]) -> _Count:
    count = _Count()
    for sample in samples:
        instances = getattr(sample, 'gt_instances', None)
        if instances is None or not len(instances):
            continue
        count.samples += 1
        weights = instances.get('mixup_weights')
        if weights is None:
            continue
        values = weights.tolist()
        if all(value == 1.0 for value in values):
            continue
        count.mixed += 1
        count.boxes += len(values)
        count.total += sum(values)
        count.low = min(count.low, *values)
        count.high = max(count.high, *values)
    return count
