"""Measures, in the running training, the images that an update averages over and its LR."""

from __future__ import annotations

import collections
import math

from ...evidence import Evidence, Finding, Training, base_lr

__all__ = ['BatchEvidence']

_TOLERANCE = 1e-6
_VARYING = 0.1  # by how much the mean of drawn batch sizes may miss their expectation
_ENOUGH_VARYING = 100  # updates


class BatchEvidence(Evidence):
    """Counts the images behind each update, and compares the base LR with the rule.

    The rule is ``lr = settings' lr * images per update / settings' batch``, whatever its numbers
    are in the run at hand.

    Args:
        rate: Whether the LR is judged as well as the batch.
    """

    def __init__(self, rate: bool = True) -> None:
        self._rate = rate
        self._images = self._batches = 0
        self._counts: collections.Counter[int] = collections.Counter()
        self._short = 0
        self._world = self._accumulation = 1
        self._lrs: dict[str, list[float]] = {}

    def start(self, training: Training) -> None:
        """Notes the groups' LRs before the schedule, and the number of processes."""
        self._world = training.world_size
        self._accumulation = max(training.accumulation.values(), default=1)
        self._lrs = {name: sorted({base_lr(group) for group in one.param_groups})
                     for name, one in training.optimizers.items()}

    def before_iteration(self, training: Training) -> None:
        """Counts the images of a batch."""
        self._images += training.samples
        self._batches += 1

    def on_update(self, training: Training) -> None:
        """Closes the count of an update."""
        if self._images:
            self._counts[self._images] += 1
            self._short += self._batches < self._accumulation
        self._images = self._batches = 0

    def finding(self, training: Training) -> Finding:
        """The images per update and the LR, against the rule."""
        asked, size = training.asked_lr, training.lr_batch_size
        rates = ', '.join(f'{lr:g}' for lr in asked.values())
        planned = f'lr {rates} x images per update / {size}'
        if not self._counts:
            return Finding(planned, None, 'no update yet')
        updates = sum(self._counts.values())
        seen, varying = self._usual(updates)
        wrong, wanted = self._wrong(training, seen, _VARYING if varying else _TOLERANCE)
        early = updates < _ENOUGH_VARYING if varying else updates == self._short == 1
        live = None if not size or not asked or (early and wrong) else not wrong
        processes = 'process' if self._world == 1 else 'processes'
        measured = (f'{seen:g} images per update ({self._world} {processes}), for which the rule '
                    f'gives {", ".join(f"{lr:g}" for lr in wanted.values()) or "no LR"}')
        measured += ''.join(f'; no group{f" of {name}" if name else ""} has that LR (base LRs '
                            f'{_short(lrs)})' for name, lrs in wrong.items())
        return Finding(planned, live, measured, {
            'images_per_update': seen, 'updates': updates, 'processes': self._world,
            'base_lrs': self._lrs, 'lr_by_the_rule': wanted})

    def _usual(self, updates: int) -> tuple[float, bool]:
        """The images of an update on all processes, and whether they are a mean of many sizes."""
        times = max(self._counts.values())
        usual = max(images for images, count in self._counts.items() if count == times)
        if updates > 2 and 2 * times <= updates:
            mean = sum(images * count for images, count in self._counts.items()) / updates
            return mean * self._world, True
        return float(usual * self._world), False

    def _wrong(self, training: Training, seen: float, tolerance: float,
               ) -> tuple[dict[str, list[float]], dict[str, float]]:
        """The optimizers that miss the rule, and the LRs that it gives."""
        size = training.lr_batch_size
        if not size:
            return {}, {}
        wanted = {name: lr * seen / size for name, lr in training.asked_lr.items()}
        if not self._rate:
            # Somebody else sets the rate: what is left is the batch that the settings name.
            right = math.isclose(seen, size, rel_tol=tolerance)
            return ({} if right else self._lrs), wanted
        return {name: self._lrs.get(name, []) for name, rate in wanted.items() if not any(
            math.isclose(lr, rate, rel_tol=tolerance) for lr in self._lrs.get(name, []))}, wanted


def _short(values: list[float]) -> str:
    return ', '.join(f'{value:g}' for value in values[:3]) + (', ...' if len(values) > 3 else '')
