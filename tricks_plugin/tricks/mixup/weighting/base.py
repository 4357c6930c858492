"""What every head family's weighting is made of: wrapped methods, loss hooks, box weights."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import torch

__all__ = ['HeadAdapter', 'Wrapped', 'times']

Around = Callable[..., Any]
LossHook = Callable[[torch.nn.Module, tuple[Any, ...], dict[str, Any]], Any]


class HeadAdapter(abc.ABC):
    """Weights the losses of one head (or RoI head) of one family; one instance per head.

    A family overrides `attach`, and there calls `wrap` for methods and `before_loss` for loss
    modules. Both act on this one head's instances, and `remove` undoes them. All state lives in
    the adapter and the wraps, so a deep copy of the model has an adapter of its own.

    Semantics: the positive terms of a ground-truth box (its positives' whole classification
    rows, regression, objectness, centerness, mask) are multiplied by its weight. Assignment,
    targets, background terms and denominators (``avg_factor``) stay upstream's.

    Attributes:
        head: The module it acts on.
        parts: The modules whose losses it weights; the head alone unless `attach` says otherwise.

    Source: arXiv 1902.04103 section 3.1; gluon-cv ``gluoncv/loss.py`` (YOLOV3Loss).
    """

    def __init__(self) -> None:
        self.head: Any = None
        self.parts: list[torch.nn.Module] = []
        self._transforms: list[Any] = []
        self._undo: list[Any] = []
        self._counted: torch.Tensor | int = 0

    @classmethod
    def supports(cls, head: torch.nn.Module) -> bool:
        """Whether a head of the family can be weighted as it is built; most can."""
        return True

    @abc.abstractmethod
    def attach(self, head: Any) -> None:
        """Wraps what makes this head's losses."""

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

    def wrap(self, owner: Any, name: str, around: Around) -> None:
        """Puts ``around(call, *args, **kwargs)`` in the place of a method of one object.

        Args:
            owner: A module, sampler, assigner or any other object with attributes.
            name: The method.
            around: A bound method of this adapter. ``call`` is the method that was there.
        """
        self._undo.append(Wrapped(owner, name, around))

    def before_loss(self, loss: torch.nn.Module, hook: LossHook) -> None:
        """Registers a forward pre-hook ``hook(module, args, kwargs)`` on a loss module.

        Args:
            loss: The module.
            hook: A bound method of this adapter, or a `functools.partial` of one, that returns
                ``(args, kwargs)``, or None to change nothing.
        """
        self._undo.append(loss.register_forward_pre_hook(hook, with_kwargs=True))

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


class Wrapped:
    """One object's method with something around it, as an attribute of that object.

    Copying or pickling the object copies it along, bound to the copy.
    """

    def __init__(self, owner: Any, name: str, around: Around) -> None:
        self.call = getattr(owner, name)
        self.around = around
        self._owner = owner
        self._name = name
        self._before = owner.__dict__.get(name)
        owner.__dict__[name] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls what is around, with the method first."""
        return self.around(self.call, *args, **kwargs)

    def remove(self) -> None:
        """Gives the object its method back."""
        if self._before is None:
            del self._owner.__dict__[self._name]
        else:
            self._owner.__dict__[self._name] = self._before

    def __getstate__(self) -> dict[str, Any]:
        """Without a method of the owner's class: pickle would look it up on the owner, as self."""
        return {name: value for name, value in self.__dict__.items()
                if name != 'call' or self._before is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if 'call' not in state:
            kind = type(self._owner)
            method = next(vars(base)[self._name] for base in kind.__mro__
                          if self._name in vars(base))
            self.call = method.__get__(self._owner, kind)


def times(weight: torch.Tensor | None, factor: torch.Tensor,
          like: torch.Tensor | None = None) -> torch.Tensor:
    """A loss's element weight times a factor per element.

    Args:
        weight: ``(n,)`` or ``(n, ...)``, or None for 1.
        factor: ``(n,)``, of any floating dtype.
        like: Gives the dtype where ``weight`` is None; float32 otherwise.

    Returns:
        Of the weight's shape and dtype, ``(n,)`` where it is None.
    """
    if weight is None:
        return factor if like is None else factor.to(like.dtype)
    shaped = factor.reshape(factor.shape + (1,) * (weight.dim() - factor.dim()))
    return weight * shaped.to(weight.dtype)
