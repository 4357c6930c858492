"""The contract of a measurement in a timm training."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from ...evidence import Finding

__all__ = ['Measurement', 'Unmeasured']


class Measurement:
    """Measures one trick from what arrives in the training.

    Every method but `finding` may be left as it is. `on_batch` and `on_update` run with every
    step, so they must not wait for the device: tensors stay there until `finding`.

    Attributes:
        trick: The trick's name.

    Args:
        run: The training, a `tricks_plugin.timm.run.Run`.
    """

    trick: ClassVar[str]

    def __init__(self, run: Any) -> None:
        self.run = run

    @classmethod
    def active(cls, run: Any) -> bool:
        """Whether timm's flags ask for the trick, with or without a plan."""
        return False

    def start(self) -> None:
        """Called once before the first epoch."""

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Called with each batch as it arrives at the model.

        Args:
            epoch: Counted from 0.
            images: Shape (B, C, H, W).
            targets: Shape (B,), class numbers, or (B, K), shares of the classes.
        """

    def on_update(self, update: int) -> None:
        """Called after each optimizer step, before the next LR is set.

        Args:
            update: The number of the update in the whole training, counted from 0.
        """

    def finding(self) -> Finding:
        """What was measured so far. May wait for the device."""
        raise NotImplementedError(f'{type(self).__name__} measures nothing')

    def close(self) -> None:
        """Called after the training: removes what `start` attached."""


class Unmeasured(Measurement):
    """Stands for a planned trick that has no measurement in a timm training."""

    def finding(self) -> Finding:
        """Nothing."""
        return Finding('as in the plan', None, 'has no measurement in a timm training')
