"""When mixup goes off: one rule for the hook that does it and for what measures it."""

from __future__ import annotations

import dataclasses
import math

__all__ = ['SwitchTimes', 'switch_times']


@dataclasses.dataclass(frozen=True)
class SwitchTimes:
    """When mixup goes off, counted from 0 in epochs or iterations.

    Attributes:
        by_epoch: Whether these are epochs.
        total: Length of the training.
        wanted: How much of its end was asked for without mixup.
        off_from: The first epoch (or iteration) that is to be without mixup.
        flip_from: When the switch is turned: `off_from`, or the iteration whose batch is
            delivered as workers are asked for that of `off_from`.
        clean_from: From here on no mixed batch can arrive. `off_from`, but in a run whose first
            iterations the switch falls into, after the batches that were asked for before it.
    """

    by_epoch: bool
    total: int
    wanted: int
    off_from: int
    flip_from: int
    clean_from: int


def switch_times(
    by_epoch: bool, total: int, fraction: float = 0.0, epochs: int | None = None, *,
    epoch_length: int = 1, ahead: int = 0, replaced_from: int | None = None,
) -> SwitchTimes:
    """When a training switches mixup off.

    Args:
        by_epoch: Whether the training's length is given in epochs, or else in iterations.
        total: That length.
        fraction: Part of the training without mixup; rounded half up, and at least 1 unless 0.
        epochs: The same in epochs, or None; overrides the fraction.
        epoch_length: Iterations in an epoch.
        ahead: Batches that worker processes make ahead, in an iteration-based training.
        replaced_from: The epoch from which another hook trains with another pipeline, without
            mixup; the earlier moment counts. Epoch-based trainings only.
    """
    if epochs is not None:
        wanted = epochs * (1 if by_epoch else epoch_length)
    else:
        wanted = max(math.floor(fraction * total + 0.5), 1) if fraction > 0 else 0
    off_from = total - min(wanted, total - 1)
    if by_epoch and replaced_from is not None:
        off_from = min(off_from, max(replaced_from, 0))
    if by_epoch or off_from == total or not ahead:
        return SwitchTimes(by_epoch, total, wanted, off_from, off_from, off_from)
    flip_from = max(off_from - ahead, 1)
    return SwitchTimes(by_epoch, total, wanted, off_from, flip_from, flip_from + ahead)
