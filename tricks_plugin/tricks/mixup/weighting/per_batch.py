"""What the adapters of anchor-free heads share: a batch's state, named boxes, loss arguments."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .base import HeadAdapter, times

__all__ = ['During', 'PerBatchAdapter', 'accepts_weight', 'as_upstream', 'factors_of', 'in_order',
           'name_boxes', 'with_weight']


class PerBatchAdapter(HeadAdapter):
    """An adapter whose notes last for one call of the head's ``loss_by_feat``.

    A family overrides `reset`, and calls `begin` from its `attach`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._in_batch = False
        self.reset()

    @abc.abstractmethod
    def reset(self) -> None:
        """Forgets what was noted."""

    def begin(self, head: Any) -> None:
        """Wraps ``loss_by_feat``."""
        self.wrap(head, 'loss_by_feat', self.batch)

    def batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One batch, between two resets, the second one after an error too."""
        self.reset()
        self._in_batch = True
        try:
            return call(*args, **kwargs)
        finally:
            self._in_batch = False
            self.reset()


class During(TorchFunctionMode):
    """While it is entered, ``after(args, kwargs, result)`` gives a torch function's result.

    For the places where a head keeps to itself what the weighting has to know, or calls a torch
    function instead of a loss module. It sees the calls of this thread alone.
    """

    def __init__(self, function: Any, after: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function
        self._after = after

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls the function, and ``after`` with what it gave."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        return self._after(args, kwargs, result) if func is self._function else result


def accepts_weight(head: Any, names: Iterable[str]) -> bool:
    """Whether a head's losses are modules of its own, one for each name, that obey ``weight``."""
    losses = [getattr(head, name, None) for name in names]
    return len({id(loss) for loss in losses}) == len(losses) and all(
        isinstance(loss, torch.nn.Module) and not any(
            kind.__name__ == 'EQLV2Loss' for kind in type(loss).__mro__)  # ignores its weight
        and 'weight' in inspect.signature(loss.forward).parameters for loss in losses)


def as_upstream(head: Any, *methods: str) -> bool:
    """Whether a head's methods are mmdet's own code, which an adapter knows the inside of."""
    return all(getattr(type(head), name).__module__.startswith('mmdet.') for name in methods)


def with_weight(args: tuple[Any, ...], kwargs: dict[str, Any],
                factor: torch.Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A loss's arguments ``(pred, target, weight=None, ...)`` with the weight times a factor."""
    if len(args) > 2:
        return (*args[:2], times(args[2], factor), *args[3:]), kwargs
    return args, {**kwargs, 'weight': times(kwargs.get('weight'), factor)}


def name_boxes(gt_instances: Any) -> Any:
    """The same boxes with labels that name them: -1 for the first, -2 for the second.

    Where a head paints labels over predictions, these tell which box each prediction belongs to.
    """
    named = gt_instances.new()
    named.labels = -1 - torch.arange(len(gt_instances), device=gt_instances.labels.device)
    return named


def factors_of(names: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor,
               ) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels and the factors of predictions over which the names of boxes were painted.

    Args:
        names: Of `name_boxes` where a box is, the background's label elsewhere; any shape.
        labels: The boxes' labels, ``(num_boxes,)``.
        weights: The boxes' weights, ``(num_boxes,)``.

    Returns:
        ``(labels, factors)`` of the shape of ``names``; the factors are 1 in the background.
    """
    if len(labels) == 0:
        return names, weights.new_ones(names.shape)
    boxes, named = (-1 - names).clamp(min=0), names < 0
    return torch.where(named, labels[boxes], names), weights[boxes].where(
        named, weights.new_ones(()))


def in_order(values: torch.Tensor, mask: torch.Tensor, size: int) -> torch.Tensor:
    """``values[mask]``, of which there are ``size``, without waiting for the device."""
    return values[torch.argsort((~mask).to(torch.uint8), stable=True)[:size]]
