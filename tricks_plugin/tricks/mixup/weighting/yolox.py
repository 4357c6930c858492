"""Weighting the losses of mmdet's YOLOXHead."""

from __future__ import annotations

from typing import Any

import torch

from .base import HeadAdapter
from .losses import LossCall

__all__ = ['YOLOXAdapter']


class YOLOXAdapter(HeadAdapter):
    """Gives the losses of SimOTA's positives, which have no weights upstream, the boxes' weights.

    The head asks `_get_targets_single` once per image, and there its sampler if the image has
    boxes; the losses are called once, with all predictions by image (objectness), or with their
    positives, in order (class, box, L1). Denominators are the number of positives.
    """

    needs = ('sampler',)
    losses = ('loss_obj', 'loss_bbox', 'loss_cls', 'loss_l1')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, an image's targets and the sampler, and weighs the losses."""
        self.begin(head)
        self.wrap(head, '_get_targets_single', self._targets)
        self.wrap(head.sampler, 'sample', self._sample)
        self.weigh(head.loss_obj, self._of_all, elementwise=True)
        self.wrap(head.loss_bbox, 'forward', self._boxes)
        for loss in (head.loss_cls, head.loss_l1):
            self.weigh(loss, self._of_positives, elementwise=True)

    def reset(self) -> None:
        """Forgets the batch's positives."""
        self._all: list[torch.Tensor] = []
        self._positive: list[torch.Tensor] = []
        self._sampled: tuple[torch.Tensor, torch.Tensor] | None = None

    def _sample(self, call: Any, assign_result: Any, pred_instances: Any, gt_instances: Any,
                *args: Any, **kwargs: Any) -> Any:
        sampled = call(assign_result, pred_instances, gt_instances, *args, **kwargs)
        weights = self.weights_of(gt_instances)
        self._sampled = sampled.pos_inds, weights[sampled.pos_assigned_gt_inds]
        return sampled

    def _targets(self, call: Any, priors: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        self._sampled = None
        targets = call(priors, *args, **kwargs)
        elements = torch.ones(len(priors), dtype=torch.float32, device=priors.device)
        if self._sampled is not None:
            positives, factors = self._sampled
            elements[positives] = factors
            self._positive.append(factors)
            self.count(factors)
        self._all.append(elements)
        return targets

    def _of_all(self, loss: LossCall) -> torch.Tensor | None:
        return torch.cat(self._all) if self._all else None

    def _of_positives(self, loss: LossCall) -> torch.Tensor | None:
        return torch.cat(self._positive) if self._positive else None

    def _boxes(self, call: Any, pred: torch.Tensor, target: torch.Tensor, *args: Any,
               **kwargs: Any) -> torch.Tensor:
        """Adds what the weights change, 0 for weights of 1.

        Given a weight, mmdet's IoU losses would ask the device whether any of it is above 0.
        """
        loss = call(pred, target, *args, **kwargs)
        if not self._positive:
            return loss
        terms = call(pred, target, reduction_override='none') * (torch.cat(self._positive) - 1)
        return loss + (terms.mean() if self.head.loss_bbox.reduction == 'mean' else terms.sum())
