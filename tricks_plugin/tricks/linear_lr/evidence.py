"""Measures, in the running training, the images that an update averages over and its LR."""

from __future__ import annotations

import collections
import math

from ...evidence import Evidence, Finding, Training, base_lr

__all__ = ['BatchEvidence']

_TOLERANCE = 1e-6
_VARYING = 0.1  # by how much the mean of drawn batch sizes may miss their expectation
_ENOUGH_VARYING = 100  # updates
_RECENT = 20  # updates whose most common size is an update's size now


class BatchEvidence(Evidence):
    """Counts the images behind each update, and compares the base LR with the rule.

    The rule is ``lr = settings' lr * images per update / settings' batch``, whatever its numbers
    are in the run at hand. The batch is a full one: the last batch of an epoch counts as such,
    and updates over fewer batches than planned do not count while there are others.

    Args:
        rate: Whether the LR is judged as well as the batch.
    """

    def __init__(self, rate: bool = True) -> None:
        self._rate = rate
        self._images = self._batches = self._largest = 0
        self._recent: collections.deque[tuple[int, bool]] = collections.deque(maxlen=_RECENT)
        self._updates = self._total = self._short = 0
        self._world = self._accumulation = 1
        self._first_lrs: dict[str, list[float]] = {}

    def start(self, training: Training) -> None:
        """Notes the number of processes, and the groups' LRs where no schedule has."""
        self._world = training.world_size
        self._accumulation = max(training.accumulation.values(), default=1)
        self._first_lrs = {name: [float(group['lr']) for group in one.param_groups]
                           for name, one in training.optimizers.items()}

    def before_iteration(self, training: Training) -> None:
        """Counts the images of a batch."""
        ends = (training.iteration + 1) % training.epoch_length == 0
        self._images += max(training.samples, self._largest) if ends else training.samples
        self._largest = max(self._largest, training.samples)
        self._batches += 1

    def on_update(self, training: Training) -> None:
        """Closes the count of an update."""
        if self._images:
            short = self._batches < self._accumulation
            self._recent.append((self._images, short))
            self._updates += 1
            self._short += short
            self._total += 0 if short else self._images
        self._images = self._batches = 0

    def finding(self, training: Training) -> Finding:
        """The images per update and the LR, against the rule."""
        asked, size = training.asked_lr, training.lr_batch_size
        rates = ', '.join(f'{lr:g}' for lr in asked.values())
        planned = f'lr {rates} x images per update / {size}'
        if not self._updates:
            return Finding(planned, None, 'no update yet')
        seen, varying = self._usual()
        found = self._base_lrs(training)
        wanted = {name: lr * seen / size for name, lr in asked.items()} if size else {}
        tolerance = _VARYING if varying else _TOLERANCE
        if self._rate:
            scales = training.lr_scales
            wrong = {name: found.get(name, []) for name, rate in wanted.items() if not any(
                math.isclose(lr, rate * scale, rel_tol=tolerance)
                for lr in found.get(name, []) for scale in (1.0, *scales.get(name, ())))}
        else:  # Somebody else sets the rate: what is left is the batch that the settings name.
            wrong = {} if math.isclose(seen, size or seen, rel_tol=tolerance) else found
        early = self._updates < _ENOUGH_VARYING if varying else self._updates == self._short == 1
        live = None if not wanted or (early and wrong) else not wrong
        processes = 'process' if self._world == 1 else 'processes'
        measured = (f'{seen:g} images per update ({self._world} {processes}), for which the rule '
                    f'gives {", ".join(f"{lr:g}" for lr in wanted.values()) or "no LR"}')
        measured += ''.join(f'; no group{f" of {name}" if name else ""} has that LR (base LRs '
                            f'{_short(lrs)})' for name, lrs in wrong.items())
        return Finding(planned, live, measured, {
            'images_per_update': seen, 'updates': self._updates, 'processes': self._world,
            'base_lrs': found, 'lr_by_the_rule': wanted})

    def _usual(self) -> tuple[float, bool]:
        """The images of an update on all processes, and whether they are a mean of many sizes."""
        whole = [images for images, short in self._recent if not short]
        sizes = collections.Counter(whole or [images for images, _ in self._recent])
        times = max(sizes.values())
        if len(whole) > 2 and 2 * times <= len(whole):
            return self._total / (self._updates - self._short) * self._world, True
        return float(max(size for size in sizes if sizes[size] == times) * self._world), False

    def _base_lrs(self, training: Training) -> dict[str, list[float]]:
        """The groups' LRs before any schedule, by optimizer."""
        return {name: sorted({base_lr(group) if 'initial_lr' in group else first
                              for group, first in zip(one.param_groups, self._first_lrs[name],
                                                      strict=False)})
                for name, one in training.optimizers.items()}


def _short(values: list[float]) -> str:
    return ', '.join(f'{value:g}' for value in values[:3]) + (', ...' if len(values) > 3 else '')
