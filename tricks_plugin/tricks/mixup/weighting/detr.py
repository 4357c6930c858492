"""Weighting the losses of mmdet's DETR line: one query per box, by Hungarian matching."""

from __future__ import annotations

from typing import Any

import torch

from .base import HeadAdapter
from .losses import LossCall
from .tensors import times

__all__ = ['DDQAdapter', 'DETRAdapter']


class DETRAdapter(HeadAdapter):
    """Multiplies the query weights of the targets: DETR to DINO and Grounding DINO.

    Every decoder layer, and the encoder of a two-stage model, asks `_get_targets_single` for its
    targets per image; the element weights of matched queries (classification row, box) are
    multiplied there. Denoising queries made from a box count as its positives; they come in
    groups, each with the boxes in order. Matching and ``avg_factor`` see no weight.
    """

    needs = ('assigner',)
    losses = ('loss_cls', 'loss_bbox', 'loss_iou')

    def reset(self) -> None:
        """Forgets the present image's matching."""
        self._gt_inds: torch.Tensor | None = None

    def attach(self, head: Any) -> None:
        """Wraps the assigner and the targets of an image."""
        self.wrap(head.assigner, 'assign', self._assign)
        self.wrap(head, '_get_targets_single', self._targets)
        if hasattr(head, '_get_dn_targets_single'):
            self.wrap(head, '_get_dn_targets_single', self._denoising)

    def _assign(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes which box each query is matched to, from 1; 0 is background."""
        result = call(*args, **kwargs)
        self._gt_inds = result.gt_inds
        return result

    def _targets(self, call: Any, cls_score: torch.Tensor, bbox_pred: torch.Tensor,
                 gt_instances: Any, img_meta: Any) -> Any:
        weights = self.weights_of(gt_instances)
        targets = call(cls_score, bbox_pred, gt_instances, img_meta)
        matched, self._gt_inds = self._gt_inds, None
        if matched is None:
            raise ValueError(f'{type(self.head).__name__} must match queries and boxes by its '
                             'assigner, whose assign() was not called')
        return self._weighted(targets, weights[matched[targets[4]] - 1])

    def _denoising(self, call: Any, gt_instances: Any, img_meta: Any, dn_meta: Any) -> Any:
        weights = self.weights_of(gt_instances)
        targets = call(gt_instances, img_meta, dn_meta)
        groups = len(targets[4]) // max(len(weights), 1)
        return self._weighted(targets, weights.repeat(groups))

    def _weighted(self, targets: Any, factor: torch.Tensor) -> Any:
        """Multiplies label and box weights at the positives, in place: they belong to the call."""
        _, label_weights, _, bbox_weights, pos_inds = targets[:5]
        self.count(factor)
        label_weights[pos_inds] = times(label_weights[pos_inds], factor)
        bbox_weights[pos_inds] = times(bbox_weights[pos_inds], factor)
        return targets


class DDQAdapter(DETRAdapter):
    """DDQ DETR: as DETR, and the auxiliary losses of its dense queries.

    `DDQAuxLoss` is handed boxes and labels alone, so the images' weights are kept from the
    batch's `loss_by_feat`, which comes first. Its box loss is weighted by the alignment metric,
    whose sum is the denominator; the factor enters after that sum.
    """

    def reset(self) -> None:
        """Forgets the batch's weights too."""
        super().reset()
        self._images: list[torch.Tensor] = []
        self._image = 0
        self._sampled: Any = None
        self._factors: list[torch.Tensor] = []
        self._current: torch.Tensor | None = None

    def attach(self, head: Any) -> None:
        """Wraps the auxiliary loss too."""
        super().attach(head)
        aux = head.aux_loss_for_dense
        self.wrap(head, 'loss_by_feat', self._batch)
        self.wrap(aux, 'loss', self._aux_loss)
        self.wrap(aux, '_get_target_single', self._aux_target)
        self.wrap(aux.sampler, 'sample', self._sample)
        self.wrap(aux, 'loss_single', self._aux_single)
        self.weigh(aux.loss_bbox, self._of_boxes)

    def _batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        instances = kwargs['batch_gt_instances'] if 'batch_gt_instances' in kwargs else args[4]
        self._images = [self.weights_of(item) for item in instances]
        return call(*args, **kwargs)

    def _aux_loss(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        self._image, self._factors, self._current = 0, [], None
        try:
            return call(*args, **kwargs)
        finally:
            self._current = None

    def _sample(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        self._sampled = call(*args, **kwargs)
        return self._sampled

    def _aux_target(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        self._sampled = None
        targets = call(*args, **kwargs)
        weights = self._images[self._image]
        self._image += 1
        factor = weights[:0]
        if self._sampled is not None:
            pos_inds, order = self._sampled.pos_inds.sort()
            factor = weights[self._sampled.pos_assigned_gt_inds[order]]
            targets[1][pos_inds] = times(targets[1][pos_inds], factor)
        self.count(factor)
        self._factors.append(factor)
        return targets

    def _aux_single(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        self._current = self._factors.pop(0)
        return call(*args, **kwargs)

    def _of_boxes(self, loss: LossCall) -> torch.Tensor | None:
        return self._current
