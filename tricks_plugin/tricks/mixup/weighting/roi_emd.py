"""Weighting the loss of mmdet's MultiInstanceRoIHead (CrowdDet)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.roi_heads.bbox_heads.multi_instance_bbox_head import MultiInstanceBBoxHead

from .losses import LossCall
from .roi import RoIAdapter
from .roi_rows import RoIRows, positive_weights
from .tensors import select

__all__ = ['MultiInstanceRoIAdapter']


class MultiInstanceRoIAdapter(RoIAdapter):
    """Weights the earth mover's distance between a proposal's predictions and its boxes.

    Each proposal has several predictions and as many boxes, and its loss is the smaller one of two
    ways to pair them. The pairing is an assignment and must not see the weights: so upstream
    chooses among unweighted losses, and what the weights change in the chosen ones is added to
    the result, 0 for weights of 1. A loss row is one of a proposal's boxes, foreground where its
    label is 1.
    """

    def reset(self) -> None:
        """Forgets the pairings too."""
        super().reset()
        self._weighing = False
        self._pairings: list[tuple[torch.Tensor, torch.Tensor]] = []

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains, with the box head that pairs."""
        box = getattr(head, 'bbox_head', None)
        return isinstance(box, MultiInstanceBBoxHead) and super().supports(head)

    def attach_box(self, box: Any) -> None:
        """Wraps the loss, and the losses of each pairing, too."""
        super().attach_box(box)
        self.wrap(box, 'loss', self._loss)
        self.wrap(box, 'emd_loss', self._pairing)

    def note(self, result: Any, weights: torch.Tensor) -> None:
        """Gives a sampling result the factors of its rows, proposals by boxes, flat."""
        boxes = torch.cat([result.pos_assigned_gt_inds, result.neg_assigned_gt_inds]).flatten()
        labels = torch.cat([result.pos_gt_labels, result.neg_gt_labels]).flatten()
        # Ignored boxes are numbered behind the others, and are never foreground.
        weights = torch.cat([weights, weights.new_ones(result.num_gts - len(weights))])
        result.mixup_foreground = labels > 0
        result.mixup_weights = torch.where(result.mixup_foreground, weights[boxes.long()],
                                           weights.new_ones(()))

    def rows_of(self, results: Sequence[Any]) -> RoIRows:
        """The factors of all rows, and the same with the foreground's first."""
        factors = positive_weights(results)
        foreground = torch.cat([result.mixup_foreground for result in results])
        return RoIRows(factors, select(factors, foreground))

    def _loss(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Adds what the weights change in the pairings that upstream chooses."""
        self._pairings = []
        try:
            losses = call(*args, **kwargs)
            if self._pairings:
                plain, weighted = (torch.cat(terms, dim=1) for terms in zip(*self._pairings,
                                                                            strict=True))
                chosen = plain.min(dim=1, keepdim=True).indices
                change = (weighted - plain).gather(1, chosen).mean()
                losses['loss_rcnn_emd'] = losses['loss_rcnn_emd'] + change
            return losses
        finally:
            self._pairings = []

    def _pairing(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes one pairing's losses per proposal without and with weights, ``(num_rois, 1)``."""
        plain = call(*args, **kwargs)
        self._weighing = True
        try:
            self._pairings.append((plain, call(*args, **kwargs)))
        finally:
            self._weighing = False
        return plain

    def factors_of(self, name: str, loss: LossCall) -> torch.Tensor | None:
        """The factors of a loss's rows in the second of the two computations."""
        if self._rows is None or not self._weighing:
            return None
        return self._rows.all if name == 'loss_cls' else self._rows.positives[:len(loss.pred)]
