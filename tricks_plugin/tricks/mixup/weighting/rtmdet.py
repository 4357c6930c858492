"""Weighting the losses of RTMDet's instance segmentation heads; its other heads are ATSS's."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses import DiceLoss

from .atss import ATSSAdapter
from .losses import LossCall

__all__ = ['RTMDetInsAdapter']


class RTMDetInsAdapter(ATSSAdapter):
    """Multiplies each positive's mask loss too, to which the head gives no weight."""

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains, with a mask loss of one element per mask."""
        return super().supports(head) and isinstance(getattr(head, 'loss_mask', None), DiceLoss)

    def attach(self, head: Any) -> None:
        """Wraps and weighs the masks' loss too."""
        super().attach(head)
        self.wrap(head, 'loss_mask_by_feat', self._masks)
        self.weigh(head.loss_mask, self._of_masks)

    def reset(self) -> None:
        """Forgets the batch's masks too."""
        super().reset()
        self._mask_factors: torch.Tensor | None = None

    def _masks(self, call: Any, mask_feats: Any, flatten_kernels: Any, sampling_results_list: Any,
               batch_gt_instances: Any) -> Any:
        """The mask loss of the positives of all images, in order."""
        self._mask_factors = torch.cat([
            self.weights_of(item)[sampled.pos_assigned_gt_inds.long()]
            for sampled, item in zip(sampling_results_list, batch_gt_instances, strict=True)])
        return call(mask_feats, flatten_kernels, sampling_results_list, batch_gt_instances)

    def _of_masks(self, loss: LossCall) -> torch.Tensor | None:
        return self._mask_factors
