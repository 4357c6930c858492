"""Weighting the losses of mmdet's RepPointsHead."""

from __future__ import annotations

from typing import Any

import torch

from .base import HeadAdapter
from .tensors import select, times

__all__ = ['RepPointsAdapter']


class RepPointsAdapter(HeadAdapter):
    """Multiplies the label and box weights that the targets of both stages come with.

    The init stage gives the weights of the first point set, the refine stage those of the class
    and of the second one; both are asked for once per image. ``avg_factor`` is a count.
    """

    needs = ('sampler',)
    losses = ('loss_cls', 'loss_bbox_init', 'loss_bbox_refine')

    def attach(self, head: Any) -> None:
        """Wraps the targets of an image."""
        self.wrap(head, '_get_targets_single', self._targets)

    def _targets(self, call: Any, flat_proposals: torch.Tensor, valid_flags: torch.Tensor,
                 gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        """One image's targets; positives are counted among the valid proposals alone."""
        weights = self.weights_of(gt_instances)
        targets = list(call(flat_proposals, valid_flags, gt_instances, *args, **kwargs))
        label_weights, box_weights, positives, sampled = (targets[i] for i in (1, 4, 5, 7))
        factor = weights[sampled.pos_assigned_gt_inds]
        self.count(factor)
        if len(label_weights) == len(valid_flags):
            places = torch.arange(len(valid_flags), device=positives.device)
            positives = select(places, valid_flags.bool())[positives]
        elements = factor.new_ones(len(label_weights)).index_put((positives,), factor)
        targets[1], targets[4] = times(label_weights, elements), times(box_weights, elements)
        return tuple(targets)
