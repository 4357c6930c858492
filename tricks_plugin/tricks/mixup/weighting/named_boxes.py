"""Boxes whose labels name them, for heads that paint labels over their predictions."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ['factors_of', 'name_boxes']


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
