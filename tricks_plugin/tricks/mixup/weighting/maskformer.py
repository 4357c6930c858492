"""Weighting the losses of mmdet's MaskFormer and Mask2Former heads."""

from __future__ import annotations

from typing import Any

import torch

from .base import HeadAdapter
from .losses import LossCall
from .tensors import times

__all__ = ['MaskFormerAdapter']


class MaskFormerAdapter(HeadAdapter):
    """Multiplies the class weight of matched queries, and their mask and dice losses.

    The head turns boxes and masks into instances of its own, which get the weights again; stuff
    regions, which come after the boxes, weigh 1. Mask losses are called with the matched masks
    of all images in order: one element each for the dice loss, one per pixel (or sampled point)
    for the other.
    """

    needs = ('assigner',)
    losses = ('loss_cls', 'loss_mask', 'loss_dice')

    def attach(self, head: Any) -> None:
        """Wraps the ground truth's preparation and a layer's targets, weighs the mask losses."""
        self.begin(head, '_loss_by_feat_single')
        self.wrap(head, 'preprocess_gt', self._prepare)
        self.wrap(head, '_get_targets_single', self._targets)
        self.weigh(head.loss_mask, self._of_masks)
        self.weigh(head.loss_dice, self._of_masks)

    def reset(self) -> None:
        """Forgets a decoder layer's matched masks."""
        self._images: list[torch.Tensor] = []

    def _prepare(self, call: Any, batch_gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = [self.weights_of(item) for item in batch_gt_instances]
        prepared = call(batch_gt_instances, *args, **kwargs)
        for item, weight in zip(prepared, weights, strict=True):
            stuff = weight.new_ones(len(item.labels) - len(weight))
            item.mixup_weights = torch.cat([weight, stuff])
        return prepared

    def _targets(self, call: Any, cls_score: torch.Tensor, mask_pred: torch.Tensor,
                 gt_instances: Any, img_meta: Any) -> Any:
        weights = self.weights_of(gt_instances)
        labels, label_weights, masks, mask_weights, pos_inds, neg_inds, sampled, *rest = call(
            cls_score, mask_pred, gt_instances, img_meta)
        factor = weights[sampled.pos_assigned_gt_inds]
        self.count(factor)
        self._images.append(factor)
        label_weights = label_weights.to(weights.dtype)  # integers upstream
        label_weights[pos_inds] = times(label_weights[pos_inds], factor)
        return labels, label_weights, masks, mask_weights, pos_inds, neg_inds, sampled, *rest

    def _of_masks(self, loss: LossCall) -> torch.Tensor | None:
        """The factor of each matched mask, or of each of its pixels."""
        if not self._images:
            return None
        factor = torch.cat(self._images)
        elements = len(loss.pred)
        if elements != len(factor):
            factor = factor.repeat_interleave(elements // len(factor))
        return factor
