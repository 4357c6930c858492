"""Which parameters of a model are its backbone's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ...common.backbone import in_backbone

__all__ = ['backbone_parameters']


def backbone_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters below a part named ``backbone``; without one, all but the classifier's.

    The classifier is what timm's ``get_classifier()`` gives.

    Args:
        model: Any module.

    Example:
        >>> model = torch.nn.ModuleDict({'backbone': torch.nn.Linear(2, 3),
        ...                              'head': torch.nn.Linear(3, 1)})
        >>> [tuple(parameter.shape) for parameter in backbone_parameters(model)]
        [(3, 2), (3,)]
    """
    inside = [parameter for name, parameter in model.named_parameters()
              if in_backbone(name)]
    if inside:
        return inside
    classifier: Callable[[], Any] | None = getattr(model, 'get_classifier', None)
    found = classifier() if callable(classifier) else ()
    heads = {id(parameter) for part in (found if isinstance(found, (list, tuple)) else (found,))
             for parameter in part.parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in heads] \
        if heads else []
