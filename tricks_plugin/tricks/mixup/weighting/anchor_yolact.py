"""Weighting the mask loss of YOLACT."""

from __future__ import annotations

from typing import Any

import torch

from .base import HeadAdapter

__all__ = ['YOLACTMaskAdapter']


class YOLACTMaskAdapter(HeadAdapter):
    """Multiplies each positive's mask loss in YOLACTProtonet.

    The head divides a positive's mask loss by the width and height of its box, which it looks up
    for the positives that it drew, and uses the boxes for nothing else. So it is given boxes of
    the same height whose width is divided by the weight. The targets of the masks are made from
    the boxes' numbers, and the crop from the box head's, untouched.

    The semantic segmentation loss has one target per class and pixel, in which boxes of both
    images are joined: it stays unweighted.
    """

    def attach(self, head: Any) -> None:
        """Wraps the targets of one image."""
        self.wrap(head, '_get_targets_single', self._targets)

    def _targets(self, call: Any, mask_preds: Any, segm_pred: Any, gt_instances: Any,
                 positive_info: Any) -> Any:
        """Makes one image's targets from boxes that carry the weights in their width."""
        weights = self.weights_of(gt_instances)
        self.count(weights[positive_info.pos_assigned_gt_inds.long()])
        boxes = gt_instances.bboxes
        width = (boxes[:, 2] - boxes[:, 0]) / weights.to(boxes.dtype)
        carriers = torch.stack([torch.zeros_like(width), boxes[:, 1], width, boxes[:, 3]], -1)
        carrying = gt_instances.new()
        carrying.bboxes = carriers
        return call(mask_preds, segm_pred, carrying, positive_info)
