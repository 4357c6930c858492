"""What a model gives, and what that costs, found without weights or memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from ...mm.config_edit import get
from ...mm.meta import built_on_meta

__all__ = ['FEATURES', 'SCORES', 'Survey', 'as_levels', 'survey']

FEATURES, SCORES = 256, 224  # px of the square image that is asked about


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the neck of a detector gives, or the head of a classifier.

    Attributes:
        widths: Channels of each level, or the number of classes.
        strides: Pixels of the image per step, of each level; empty for a classifier.
        multiply_adds: Of backbone and neck, or of the whole classifier, for one image.
        size: Side of that image in px.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    multiply_adds: int
    size: int


def as_levels(outputs: Any) -> list[torch.Tensor]:
    """The tensors that a neck or head returned: one, a sequence, or a dict of them."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, dict) else outputs
    found = list(values) if isinstance(values, (list, tuple)) or isinstance(outputs, dict) else []
    return found if all(isinstance(one, torch.Tensor) for one in found) else []


def survey(model: dict[str, Any], scope: str, features: bool) -> Survey | None:
    """Looks into a model; None where it cannot be built or run without memory.

    Args:
        model: Its section of a plain config.
        scope: The registry scope of unscoped types.
        features: Whether the levels of a detector's neck are asked for, or a classifier's scores.
    """
    from torch.utils.flop_counter import FlopCounterMode
    size = FEATURES if features else SCORES
    parts = [get(model, 'backbone'), get(model, 'neck')] if features else [model]
    built: list[Any] = [built_on_meta(part, scope) for part in parts]
    if not all(isinstance(one, nn.Module) for one in built):
        return None
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            values: Any = torch.zeros(1, 3, size, size, device='meta')
            for module in built:
                for one in module if isinstance(module, nn.ModuleList) else [module]:
                    values = one(values) if features else one(values, mode='tensor')
    except Exception:  # operations of mmcv, and models that read what they compute
        return None
    levels = as_levels(values)
    if not levels or any(one.dim() != (4 if features else 2) for one in levels):
        return None
    strides = tuple(round(size / one.shape[-2]) for one in levels) if features else ()
    return Survey(tuple(one.shape[1] for one in levels), strides,
                  counter.get_total_flops() // 2, size)
