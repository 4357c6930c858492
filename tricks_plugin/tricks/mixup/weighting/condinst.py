"""Weighting the losses of CondInstMaskHead and BoxInstMaskHead."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from mmdet.models.losses import DiceLoss

from .base import HeadAdapter
from .losses import LossCall
from .tensors import times

__all__ = ['BoxInstMaskAdapter', 'CondInstMaskAdapter']


class CondInstMaskAdapter(HeadAdapter):
    """Gives the mask loss, called per image with one row per positive, the boxes' weights.

    The head may train on a part of an image's positives only, drawn or the best ones. To learn
    which, it is given their numbers in the place of the predicted masks, which it only selects
    from, and gets the selected masks back.
    """

    losses = ('loss_mask',)
    upstream: ClassVar[tuple[str, ...]] = ('_get_targets_single', 'loss_by_feat')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss and an image's targets, and weighs the loss."""
        self.begin(head)
        self.wrap(head, '_get_targets_single', self._targets)
        self.weigh(head.loss_mask, self._of_masks,
                   elementwise=not isinstance(head.loss_mask, DiceLoss))

    def reset(self) -> None:
        """Forgets the present image's positives."""
        self._factors: torch.Tensor | None = None

    def _targets(self, call: Any, mask_preds: torch.Tensor, gt_instances: Any,
                 positive_info: Any) -> Any:
        self._factors = None
        weights = self.weights_of(gt_instances)
        boxes = positive_info.pos_assigned_gt_inds
        numbers = torch.arange(len(boxes), device=boxes.device)
        chosen, targets, *others = call(numbers, gt_instances, positive_info)
        if targets is None:
            return (mask_preds, targets, *others)
        self._factors = weights[boxes[chosen]]
        self.count(self._factors)
        return (mask_preds if chosen is numbers else mask_preds[chosen], targets, *others)

    def _of_masks(self, loss: LossCall) -> torch.Tensor | None:
        return self._factors


class BoxInstMaskAdapter(CondInstMaskAdapter):
    """BoxInst: both projections of a positive's mask, and its pairwise terms."""

    upstream = (*CondInstMaskAdapter.upstream, 'get_pairwise_affinity')

    def attach(self, head: Any) -> None:
        """Wraps the affinities of neighbouring pixels, too."""
        super().attach(head)
        self.wrap(head, 'get_pairwise_affinity', self._affinity)

    def _affinity(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        affinity = call(*args, **kwargs)
        return affinity if self._factors is None else times(affinity, self._factors)
