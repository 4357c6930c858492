"""What every head family's weighting is made of: wrapped methods, weighed losses, box weights."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from ....common.wrapped import Wrapped
from .losses import LossCall, accept_weight

__all__ = ['HeadAdapter']

Factor = Callable[[LossCall], torch.Tensor | None]


class HeadAdapter(abc.ABC):
    """Weights the losses of one head (or RoI head) of one family; one instance per head.

    A family overrides `attach`, and there calls `wrap` for methods and `weigh` for loss modules.
    Both act on this one head's instances, and `remove` undoes them. What it notes on the way it
    forgets in `reset`; with `begin`, before and after each batch. All state lives in the adapter
    and the wraps, so a deep copy of the model has an adapter of its own.

    Semantics: the positive terms of a ground-truth box (its positives' whole classification
    rows, regression, objectness, centerness, mask) are multiplied by its weight. Assignment,
    targets, background terms and denominators (``avg_factor``) stay upstream's.

    Attributes:
        needs: What a head that trains has, as ``sampler``.
        losses: Its loss modules that must obey an element weight.
        upstream: Its methods that must be mmdet's own code, since the family knows their inside.
        head: The module it acts on.
        parts: The modules whose losses it weights; the head alone unless `attach` says otherwise.

    Source: arXiv 1902.04103 section 3.1; gluon-cv ``gluoncv/loss.py`` (YOLOV3Loss).
    """

    needs: ClassVar[tuple[str, ...]] = ()
    losses: ClassVar[tuple[str, ...]] = ()
    upstream: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.head: Any = None
        self.parts: list[torch.nn.Module] = []
        self._transforms: list[Any] = []
        self._undo: list[Any] = []
        self._counted: torch.Tensor | int = 0
        self.reset()

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether a head of the family trains, and can be weighted as it is built."""
        return (all(getattr(head, name, None) is not None for name in cls.needs)
                and accept_weight(head, cls.losses)
                and all(getattr(type(head), name).__module__.startswith('mmdet.')
                        for name in cls.upstream))

    @abc.abstractmethod
    def attach(self, head: Any) -> None:
        """Wraps what makes this head's losses."""

    def reset(self) -> None:  # noqa: B027
        """Forgets what was noted; a family that notes nothing has nothing to forget."""

    def install(self, head: torch.nn.Module, transforms: list[Any]) -> None:
        """Attaches to a head that `supports` accepts.

        Args:
            head: The head, of the family.
            transforms: The training's mixup transforms: while one of them is enabled, a sample
                without weights is an error.
        """
        self.head = head
        self.parts = [head]
        self._transforms = transforms
        self.attach(head)

    def remove(self) -> None:
        """Leaves the head as it was."""
        for undo in reversed(self._undo):
            undo.remove()
        self._undo = []
        self.head, self.parts = None, []

    @property
    def weighted_positives(self) -> int:
        """Positives whose loss was multiplied by a weight other than 1; synchronises the device."""
        return int(self._counted)

    def wrap(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        """Puts ``around(call, *args, **kwargs)`` in the place of a method of one object.

        Args:
            owner: A module, sampler, assigner or any other object with attributes.
            name: The method.
            around: A bound method of this adapter. ``call`` is the method that was there.
        """
        self._undo.append(Wrapped(owner, name, around))

    def weigh(self, loss: torch.nn.Module, factor: Factor, elementwise: bool = False) -> None:
        """Multiplies a loss module's element weight at each of its calls.

        Args:
            loss: The module.
            factor: A bound method of this adapter, or a `functools.partial` of one: of a call
                the factor per row, ``(n,)``; None leaves the call alone.
            elementwise: See `LossCall.times`.
        """
        self._undo.append(loss.register_forward_pre_hook(
            functools.partial(_weigh, factor, elementwise), with_kwargs=True))

    def begin(self, head: Any, name: str = 'loss_by_feat') -> None:
        """Wraps the method that makes one batch's losses."""
        self.wrap(head, name, self.batch)

    def batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One batch, between two resets, the second one after an error too."""
        self.reset()
        try:
            return call(*args, **kwargs)
        finally:
            self.reset()

    def weights_of(self, gt_instances: Any) -> torch.Tensor:
        """The boxes' weights of one image, ``(num_boxes,)``; 1 where mixup is off.

        Raises:
            ValueError: If the image's boxes have no weights although mixup is on.
        """
        weights = gt_instances.get('mixup_weights')
        if weights is not None:
            return weights
        if any(transform.enabled for transform in self._transforms):
            raise ValueError(
                'gt_instances must hold mixup_weights while GeometryPreservingMixUp is on, '
                f'got {sorted(gt_instances.keys())}: pack the training samples with '
                "type='tricks_plugin.PackWeightedDetInputs'")
        return gt_instances.labels.new_ones(len(gt_instances), dtype=torch.float32)

    def count(self, factors: torch.Tensor) -> None:
        """Counts the factors other than 1 as positives that were weighted; no synchronisation."""
        self._counted = self._counted + (factors != 1).sum()


def _weigh(factor: Factor, elementwise: bool, module: torch.nn.Module, args: tuple[Any, ...],
           kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """A loss's forward pre-hook."""
    call = LossCall(args, kwargs)
    factors = factor(call)
    return None if factors is None else call.times(factors, elementwise)
