"""The learning rate and the momentum of a run at each of its steps, as numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ['EpochLength', 'Rates']

_MOST_JOINTS = 12


@dataclasses.dataclass(frozen=True)
class EpochLength:
    """How many steps an epoch has.

    Attributes:
        steps: Iterations, or optimizer updates.
        origin: How the number is known, in words.
        images: How many images an epoch was counted from; None where it was not.
    """

    steps: int
    origin: str
    images: int | None = None


@dataclasses.dataclass(frozen=True)
class Rates:
    """What the schedulers of one run set before each step.

    Attributes:
        label: Of the curve.
        lr: ``(steps, groups)``; a run whose groups share one LR has one group.
        momentum: ``(steps,)``, of the first group; NaN for an optimizer without.
        groups: A name for each group.
        unit: ``iteration`` or ``update``.
        epoch: The length of an epoch; None where the run counts none.
        notes: Sentences on what the curve does not know.
    """

    label: str
    lr: np.ndarray
    momentum: np.ndarray
    groups: tuple[str, ...] = ('',)
    unit: str = 'iteration'
    epoch: EpochLength | None = None
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """The length of the run."""
        return len(self.lr)

    @property
    def warmup_end(self) -> int | None:
        """The first step with the highest LR; None where the run begins with it."""
        peak = int(np.argmax(self.lr[:, 0]))
        return peak if self.lr[peak, 0] > self.lr[0, 0] else None

    @property
    def marks(self) -> dict[str, int]:
        """The telling steps: ``first``, ``warmup_end`` (if there is one), ``middle``, ``last``."""
        found = {'first': 0}
        if self.warmup_end is not None:
            found['warmup_end'] = self.warmup_end
        return {**found, 'middle': self.steps // 2, 'last': self.steps - 1}

    @property
    def joints(self) -> list[int]:
        """The steps at which the LR jumps by itself, as in a step decay.

        Empty where it jumps more than a dozen times, as a schedule does that is set per epoch.
        """
        rate = self.lr[:, 0]
        jumps = np.pad(np.abs(np.diff(rate)), 1)
        beside = np.maximum(jumps[:-2], jumps[2:])
        alone = np.flatnonzero((jumps[1:-1] > 4 * beside) & (jumps[1:-1] > 1e-4 * rate.max()))
        return (alone + 1).tolist() if len(alone) <= _MOST_JOINTS else []

    @property
    def constant_momentum(self) -> float | None:
        """The momentum where it never changes; None where it does or there is none."""
        first = self.momentum[0]
        return float(first) if np.isfinite(first) and (self.momentum == first).all() else None
