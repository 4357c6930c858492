"""Which losses obey an element weight, and how one call of a loss is given another."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from .tensors import shaped, times

__all__ = ['LossCall', 'accept_weight', 'ignores_weight']

# By name: this module is imported where mmdet is not needed yet. EQLv2 makes weights of its own,
# and the gradient-harmonised losses ask only whether an element's weight is above 0.
_IGNORING = {'EQLV2Loss', 'GHMC', 'GHMR'}


def ignores_weight(loss: Any) -> bool:
    """Whether a loss is one that does not multiply its elements by the weight it is given."""
    return not _IGNORING.isdisjoint(kind.__name__ for kind in type(loss).__mro__)


def accept_weight(head: Any, names: Iterable[str]) -> bool:
    """Whether a head's losses are modules of its own, one for each name, that obey ``weight``."""
    losses = [getattr(head, name, None) for name in names]
    return len({id(loss) for loss in losses}) == len(losses) and all(
        isinstance(loss, torch.nn.Module) and not ignores_weight(loss)
        and _has_weight(loss) for loss in losses)


def _has_weight(loss: torch.nn.Module) -> bool:
    """Whether a loss has an argument ``weight``, or passes on whatever it gets."""
    parameters = inspect.signature(loss.forward).parameters
    return 'weight' in parameters or {item.kind for item in parameters.values()} == {
        inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


class LossCall(NamedTuple):
    """The arguments of one call of a loss ``(pred, target, weight=None, ...)``.

    Attributes:
        args: In order.
        kwargs: By name.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def pred(self) -> torch.Tensor:
        """The predictions, ``(n, ...)``."""
        return self.args[0] if self.args else self.kwargs['pred']

    @property
    def target(self) -> Any:
        """What they are compared with; None if it is passed by another name than ``target``."""
        return self.args[1] if len(self.args) > 1 else self.kwargs.get('target')

    @property
    def weight(self) -> torch.Tensor | None:
        """The element weight; None where the loss is called without one."""
        return self.args[2] if len(self.args) > 2 else self.kwargs.get(self._key)

    @property
    def _key(self) -> str:
        return 'label_weights' if 'label_weights' in self.kwargs else 'weight'  # SeesawLoss

    def times(self, factor: torch.Tensor, elementwise: bool) -> LossCall:
        """The same call with its element weight times a factor per row.

        Args:
            factor: ``(n,)``.
            elementwise: Whether a loss without a weight has one term per element of its
                predictions, and is given each element's factor; otherwise each row's.
        """
        weight = self.weight
        if weight is None and elementwise:
            weight = shaped(factor, self.pred).expand(self.pred.shape)
        else:
            weight = times(weight, factor)
        if len(self.args) > 2:
            return LossCall((*self.args[:2], weight, *self.args[3:]), self.kwargs)
        return LossCall(self.args, {**self.kwargs, self._key: weight})
