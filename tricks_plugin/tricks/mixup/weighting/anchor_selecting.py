"""Weighting heads that choose or rank their positives by the losses: FreeAnchor, FSAF, PISA.

What they choose by must not see the weights, so these are multiplied in after the choice.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses import SmoothL1Loss, carl_loss

from .anchor import AnchorAdapter
from .base import HeadAdapter
from .tensors import times

__all__ = ['FSAFAdapter', 'FreeAnchorAdapter', 'PISARetinaAdapter', 'PISASSDAdapter']


class FreeAnchorAdapter(HeadAdapter):
    """Multiplies each box's positive bag loss; the negative bag loss is background."""

    def attach(self, head: Any) -> None:
        """Wraps the positive loss of one image."""
        self.wrap(head, 'positive_loss_single', self._positive_loss)

    def _positive_loss(self, call: Any, cls_prob: Any, bbox_pred: Any, flat_anchors: Any,
                       gt_instances: Any) -> tuple[Any, ...]:
        """Weights one image's bags, one per box."""
        probability, losses, *rest = call(cls_prob, bbox_pred, flat_anchors, gt_instances)
        weights = self.weights_of(gt_instances)
        self.count(weights)
        return probability, times(losses, weights), *rest


class FSAFAdapter(AnchorAdapter):
    """Multiplies the unreduced losses once each box has its level.

    A positive on a level that its box did not choose is background (its own class ignored), and
    stays so.
    """

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains; its losses are multiplied themselves, not their weights."""
        return super(AnchorAdapter, cls).supports(head)

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, the sampler and what reduces a level's losses."""
        self.begin(head)
        self.wrap(head.sampler, 'sample', self._sample)
        self.wrap(head, 'reweight_loss_single', self._reweight)

    def reset(self) -> None:
        """Forgets the batch's weights too."""
        super().reset()
        self._weights: list[torch.Tensor] = []

    def _sample(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes one image's weights; mmdet numbers the boxes through the batch."""
        sampled = super()._sample(call, *args, **kwargs)
        self._weights.append(self._sampled[1])  # type: ignore[index]
        return sampled

    def _reweight(self, call: Any, cls_loss: torch.Tensor, reg_loss: torch.Tensor,
                  assigned_gt_inds: torch.Tensor, labels: Any, level: int,
                  min_levels: torch.Tensor) -> Any:
        """Weights one level's losses where a positive's box chose this level."""
        if len(min_levels):
            weights = torch.cat(self._weights)
            boxes = assigned_gt_inds.clamp(min=0)
            chosen = (assigned_gt_inds >= 0) & (min_levels[boxes] == level)
            factors = torch.where(chosen, weights[boxes], torch.ones_like(weights[:1]))
            self.count(factors)
            cls_loss, reg_loss = times(cls_loss, factors), times(reg_loss, factors)
        return call(cls_loss, reg_loss, assigned_gt_inds, labels, level, min_levels)


class _PISAAdapter(AnchorAdapter):
    """What both PISA heads share: factors of all anchors and positives, noted for after ISR."""

    ghm = ()

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, the sampler and the targets."""
        self.begin(head)
        self.attach_targets(head)

    def reset(self) -> None:
        """Forgets the batch's factors too."""
        super().reset()
        self._elements: list[torch.Tensor] = []
        self._positives: list[torch.Tensor] = []

    def _targets(self, head: Any, call: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Notes one image's factors; its targets stay as they are."""
        result, sampled, weights = self.noted(call, args, kwargs, self.sampling)
        self._positives.append(self.factors(sampled, weights))
        self._elements.append(self.elements(head, result, self._positives[-1]))
        return result


class PISARetinaAdapter(_PISAAdapter):
    """Multiplies the element weights that ISR made, and CARL's elements.

    PISARetinaHead calls each loss once with the weights of all images' anchors. ISR calls the
    classification loss without weights, unreduced, to rank; CARL calls the regression loss so,
    for the positives.
    """

    def attach(self, head: Any) -> None:
        """Wraps the two losses too."""
        super().attach(head)
        self.wrap(head.loss_cls, 'forward', self._classify)
        self.wrap(head.loss_bbox, 'forward', self._regress)

    def _classify(self, call: Any, pred: Any, target: Any, weight: Any = None, *args: Any,
                  **kwargs: Any) -> torch.Tensor:
        """The classification loss, weighted where it has weights."""
        if weight is not None and self._elements:
            weight = times(weight, torch.cat(self._elements))
        return call(pred, target, weight, *args, **kwargs)

    def _regress(self, call: Any, pred: Any, target: Any, weight: Any = None, *args: Any,
                 **kwargs: Any) -> torch.Tensor:
        """The regression loss: of all anchors with weights, or of the positives without."""
        if weight is not None or not self._elements:
            return self._classify(call, pred, target, weight, *args, **kwargs)
        return times(call(pred, target, None, *args, **kwargs), torch.cat(self._positives))


class PISASSDAdapter(_PISAAdapter):
    """Multiplies the element weights that ISR made, and CARL's elements.

    PISASSDHead computes its losses once per image, with weights. Its CARL has a regression loss
    made on the spot, so mmdet's `carl_loss` is called again, with one that weights (and finds
    the positives again, which synchronises the device once).
    """

    def attach(self, head: Any) -> None:
        """Wraps the loss of one image too."""
        super().attach(head)
        self.wrap(head, 'loss_by_feat_single', self._single)

    def reset(self) -> None:
        """Forgets the batch's rows too."""
        super().reset()
        self._rows: list[tuple[Any, ...]] = []
        self._avg_factor: Any = None

    def _single(self, call: Any, cls_score: Any, bbox_pred: Any, anchor: Any, labels: Any,
                label_weights: Any, bbox_targets: Any, bbox_weights: Any,
                avg_factor: Any) -> Any:
        """One image's losses; the images come in order."""
        elements = self._elements[len(self._rows)]
        self._rows.append((cls_score, labels, bbox_pred, bbox_targets))
        self._avg_factor = avg_factor
        return call(cls_score, bbox_pred, anchor, labels, times(label_weights, elements),
                    bbox_targets, times(bbox_weights, elements), avg_factor=avg_factor)

    def batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One batch, whose CARL is made once more."""
        return super().batch(self._with_carl, call, *args, **kwargs)

    def _with_carl(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        losses = call(*args, **kwargs)
        if 'loss_carl' in losses and self._rows:
            scores, labels, preds, targets = (torch.cat(rows) for rows in zip(*self._rows,
                                                                              strict=True))
            losses.update(carl_loss(
                scores, labels, preds, targets, self._carl, **self.head.train_cfg['carl'],
                avg_factor=self._avg_factor, num_class=self.head.num_classes))
        return losses

    def _carl(self, pred: torch.Tensor, target: torch.Tensor,
              reduction_override: str) -> torch.Tensor:
        """The regression loss of the positives, ``(num_pos, 4)``, as PISASSDHead has it."""
        loss = SmoothL1Loss(beta=1.)(pred, target, reduction_override=reduction_override)
        return times(loss, torch.cat(self._positives))
