"""One clock for everything that augments: on, and off for the end of the training."""

from __future__ import annotations

import dataclasses
import math

__all__ = ['Phases', 'check_end', 'phases']


@dataclasses.dataclass(frozen=True)
class Phases:
    """When augmentation goes off, counted from 0 in epochs or iterations.

    Attributes:
        by_epoch: Whether these are epochs.
        total: Length of the training.
        wanted: How much of its end was asked for without augmentation.
        off_from: The first epoch (or iteration) that is to be without it; `total` if there is no
            such end.
        flip_from: When a switch that worker processes obey is turned: `off_from`, or the iteration
            whose batch is delivered as workers are asked for that of `off_from`.
        clean_from: From here on no augmented batch can arrive from workers. `off_from`, but in a
            run whose first iterations the switch falls into, after the batches that were asked for
            before it.
    """

    by_epoch: bool = True
    total: int = 0
    wanted: int = 0
    off_from: int = 0
    flip_from: int = 0
    clean_from: int = 0

    @property
    def ends(self) -> bool:
        """Whether there is an end without augmentation."""
        return self.off_from < self.total

    @property
    def unit(self) -> str:
        """``epoch`` or ``iteration``."""
        return 'epoch' if self.by_epoch else 'iteration'

    def on(self, now: int) -> bool:
        """Whether an epoch (or iteration) is augmented, by the plan."""
        return now < self.off_from

    def __str__(self) -> str:
        return f'off from {self.unit} {self.off_from}' if self.ends else 'on to the end'


def check_end(fraction: float, epochs: int | None) -> None:
    """Refuses an end of a training that no hook could keep.

    Args:
        fraction: ``off_fraction``, the last part of the training.
        epochs: ``off_epochs``, the same in epochs, or None.

    Raises:
        ValueError: If one is out of its bounds.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f'off_fraction must be in [0, 1), got {fraction!r}')
    if epochs is not None and epochs < 0:
        raise ValueError(f'off_epochs must be >= 0, got {epochs!r}')


def phases(
    by_epoch: bool, total: int, fraction: float = 0.0, epochs: int | None = None, *,
    epoch_length: int = 1, ahead: int = 0, replaced_from: int | None = None,
) -> Phases:
    """When a training ends its augmentation.

    A fraction never takes all of a run, and takes one epoch (or iteration) at least, where there
    are two. So a run of one epoch has no end of its own.

    Args:
        by_epoch: Whether the training's length is given in epochs, or else in iterations.
        total: That length.
        fraction: Last part of the training; rounded half up, and at least 1 unless 0.
        epochs: The same in epochs, or None; overrides the fraction.
        epoch_length: Iterations in an epoch.
        ahead: Batches that worker processes make ahead, in an iteration-based training.
        replaced_from: The epoch from which another hook trains without the augmentation; the
            earlier moment counts. Epoch-based trainings only.

    Example:
        >>> [phases(True, total, 0.1).off_from for total in (1, 2, 10, 24, 25, 300)]
        [1, 1, 9, 22, 22, 270]
    """
    if epochs is not None:
        wanted = epochs * (1 if by_epoch else epoch_length)
    else:
        wanted = max(math.floor(fraction * total + 0.5), 1) if fraction > 0 else 0
    off_from = total - min(wanted, total - 1)
    if by_epoch and replaced_from is not None:
        off_from = min(off_from, max(replaced_from, 0))
    if by_epoch or off_from == total or not ahead:
        return Phases(by_epoch, total, wanted, off_from, off_from, off_from)
    flip_from = max(off_from - ahead, 1)
    return Phases(by_epoch, total, wanted, off_from, flip_from, flip_from + ahead)
