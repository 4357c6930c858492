"""What a measurement sees of a running training, whichever trainer runs it."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from .learning_rate import Curve

__all__ = ['Average', 'Distillation', 'Training']


@dataclasses.dataclass(frozen=True)
class Average:
    """An average of the weights that a trainer keeps.

    Attributes:
        module: The averaged model; its parameters have the names of ``source``'s.
        source: The model that it averages.
        share: The share of the new weights in the latest update, in [0, 1] (0 where the trainer's
            interval passed it over); None if the way it averages is not known.
        due: Whether the iteration at hand is one in which the trainer updates it.
        total: How often it is to be updated in the whole training.
        buffers: Whether buffers are averaged as well; else they are copied.
    """

    module: nn.Module
    source: nn.Module
    share: float | None
    due: bool
    total: int
    buffers: bool = True


@dataclasses.dataclass
class Distillation:
    """A teacher that a trainer learns from beside the labels.

    Its weighted losses are among `Training.outputs`, under names that begin with ``loss_distill``.

    Attributes:
        teacher: The model that must not change.
        gradients: The largest gradient so far that each of these losses has sent to the student,
            by name; scalars on the device. A loss that has sent none is not there.
        whole: What the latest step with a teacher minimised, those losses included; a scalar on
            the device, None before it. An entry ``loss`` of the outputs may be a head's own.
    """

    teacher: nn.Module
    gradients: dict[str, torch.Tensor]
    whole: torch.Tensor | None = None


class Training(ABC):
    """A view of one training on one process. An adapter per trainer fills it.

    Iterations (batches), epochs and updates (optimizer steps) are counted from 0 over the whole
    training, those before a resume included, unless it says otherwise.

    Attributes:
        updates: Optimizer steps seen by this process since it began.
        attempts: Those that were due, with the ones that a loss scaler skipped.
        outputs: What the latest step returned: a dict with the losses by name; None before it.
    """

    updates: int
    attempts: int
    outputs: Any

    # What is built.

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The model that is trained, without the wrappers of distribution or compilation."""

    @property
    @abstractmethod
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The optimizers by name; ``''`` for the only one."""

    @property
    @abstractmethod
    def accumulation(self) -> Mapping[str, int]:
        """Iterations that an update of each optimizer averages over, as it is set now."""

    @property
    def compiled(self) -> bool:
        """Whether the model's layers are compiled, so that hooks on them may not be called."""
        return False

    @property
    def loaded(self) -> str:
        """What brought the weights at the start (``load_from``, ``resume``); empty: nothing did."""
        return ''

    def forward_context(self) -> AbstractContextManager[Any]:
        """The context in which the trainer computes a forward pass, autocast included."""
        return nullcontext()

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        return [group for one in self.optimizers.values() for group in one.param_groups]

    @property
    @abstractmethod
    def average(self) -> Average | None:
        """The average of the weights, or None if the trainer keeps none."""

    @property
    def distillation(self) -> Distillation | None:
        """The teacher, or None if there is none."""
        return None

    @property
    @abstractmethod
    def loss_scales(self) -> list[float]:
        """The loss scales of float16 training; empty without a scaler. Synchronises the device."""

    @property
    @abstractmethod
    def criterion(self) -> Callable[..., torch.Tensor] | None:
        """The loss as a function of logits (n, K) and targets, where the trainer has one."""

    @property
    @abstractmethod
    def loaders(self) -> Mapping[str, Any]:
        """The data loaders that are built: ``train``, ``val``."""

    @abstractmethod
    def component(self, kind: type) -> Any:
        """The hook or other component of a class that takes part, or what a hook holds; or None."""

    def replaced_from(self, kind: type) -> int | None:
        """The epoch from which a hook of the trainer's own puts transforms of a class away.

        None if there is no such hook.
        """
        return None

    # What the settings ask for.

    @property
    def schedule(self) -> Mapping[str, Curve]:
        """The LR over time that the settings describe, by optimizer."""
        return {}

    @property
    def asked_lr(self) -> Mapping[str, float]:
        """The LR that the settings name for `lr_batch_size` images, by optimizer.

        Under a one-cycle schedule it is the peak.
        """
        return {}

    @property
    def lr_scales(self) -> Mapping[str, Collection[float]]:
        """By what the settings multiply `asked_lr` for some groups, by optimizer; never 0 or 1."""
        return {}

    @property
    def lr_batch_size(self) -> int | None:
        """The images per update that `asked_lr` is for, or None if the settings do not say."""
        return None

    # When.

    @property
    @abstractmethod
    def iteration(self) -> int:
        """The number of the iteration at hand."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """The number of the epoch at hand."""

    @property
    @abstractmethod
    def begun_at(self) -> int:
        """The iteration at which this process began; above 0 after a resume."""

    @property
    @abstractmethod
    def by_epoch(self) -> bool:
        """Whether the length of the training is given in epochs."""

    @property
    @abstractmethod
    def max_iterations(self) -> int:
        """The length of the training in iterations."""

    @property
    @abstractmethod
    def max_epochs(self) -> int:
        """The length of the training in epochs; in an iteration-based one, rounded up."""

    @property
    @abstractmethod
    def epoch_length(self) -> int:
        """Iterations in an epoch."""

    # Where.

    @property
    @abstractmethod
    def world_size(self) -> int:
        """The number of training processes."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model lives."""

    # The batch at hand.

    @property
    @abstractmethod
    def batch(self) -> Any:
        """The batch as the trainer got it from its loader."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """Images in the batch at hand, on this process; 0 where that cannot be told."""

    @property
    @abstractmethod
    def images(self) -> Any:
        """The images as they go to the model: a tensor (B, C, H, W), or a list of (C, H, W)."""

    @property
    @abstractmethod
    def targets(self) -> Any:
        """What the loss gets beside the outputs.

        A list of data samples; or a tensor (B,) of class numbers or (B, K) of class shares.
        """
