"""Weighting mmdet's gradient-harmonised losses, GHMC and GHMR."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses.utils import weight_reduce_loss

from .tensors import shaped

__all__ = ['weighted_ghm']


def weighted_ghm(loss: Any, call: Any, pred: torch.Tensor, target: torch.Tensor,
                 label_weight: torch.Tensor, reduction_override: str | None = None,
                 **kwargs: Any) -> torch.Tensor:
    """Calls GHMC or GHMR with elements weighted by what is other than 0 in ``label_weight``.

    Both count the elements per range of gradient, and take ``label_weight`` for nothing but
    whether an element counts (GHMR's denominator is their sum). So the loss is called with 0 and
    1, unreduced and without its own ``loss_weight``; its elements are weighted and reduced as
    its last two lines do. The counts, their moving averages and the denominator stay upstream's;
    reading the denominator synchronises the device once, after mmdet's once per range.

    Args:
        loss: The GHMC or GHMR, around whose ``forward`` this is.
        call: Its ``forward``.
        pred: ``(n, channels)``.
        target: ``(n,)`` or ``(n, channels)``.
        label_weight: The same shape; 0 for ignored elements, their factor for all others.
        reduction_override: As in the loss.
        **kwargs: For the loss.

    Returns:
        The loss. With factors of 1 the one that ``call`` gives, to the bit.

    Source: arXiv 1811.05181; mmdet ``mmdet/models/losses/ghm_loss.py``.
    """
    valid = label_weight > 0
    scale = loss.loss_weight
    loss.loss_weight = 1.0
    try:
        elements = call(pred, target, valid.to(label_weight.dtype), reduction_override='none',
                        **kwargs)
    finally:
        loss.loss_weight = scale
    factor = torch.where(valid, label_weight, torch.ones_like(label_weight))
    valid, factor = shaped(valid, elements), shaped(factor, elements)
    total = max(valid.expand_as(elements).float().sum().item(), 1.0)
    return weight_reduce_loss(elements, factor, reduction_override or loss.reduction,
                              total) * scale
