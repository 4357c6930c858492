"""Weighting the losses of mmdet's AutoAssignHead."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from ....common.wrapped import During
from .base import HeadAdapter

__all__ = ['AutoAssignAdapter']

_EPS = 1e-12  # upstream's, below which a sum of priors counts as zero


class AutoAssignAdapter(HeadAdapter):
    """Weights a box's term of the positive loss and its share of the center prior's loss.

    The positive loss is one binary cross entropy per box, over all of its points together; that
    call gets the weights. The center prior's loss of an image is its number of boxes over the sum
    of their priors: a box counts with its weight. The negative loss and the denominators stay.
    """

    upstream = ('get_pos_loss_single', 'loss_by_feat')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, an image's positive loss and the center prior."""
        self.begin(head)
        self.wrap(head, 'get_pos_loss_single', self._positive)
        self.wrap(head.center_prior, 'forward', self._prior)

    def reset(self) -> None:
        """Forgets the batch's priors."""
        self._centers: list[torch.Tensor] = []

    def batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One batch; what the weights add to the center prior's loss is 0 for weights of 1."""
        return super().batch(self._with_centers, call, *args, **kwargs)

    def _with_centers(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        losses = call(*args, **kwargs)
        more = torch.stack(self._centers).mean() * self.head.center_loss_weight
        losses['loss_center'] = losses['loss_center'] + more
        return losses

    def _prior(self, call: Any, points: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights_of(gt_instances)
        prior, inside = call(points, gt_instances, *args, **kwargs)
        more = (weights.sum() - len(weights)) / prior.sum().clamp(min=_EPS)
        self._centers.append(more.where(inside.any(), more.new_zeros(())))
        return prior, inside

    def _positive(self, call: Any, cls_score: Any, objectness: Any, reg_loss: Any,
                  gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights_of(gt_instances)
        self.count(weights)

        def weigh(_: Any, __: Any, loss: torch.Tensor) -> torch.Tensor:
            return loss * weights

        with During(functional.binary_cross_entropy, weigh):
            return call(cls_score, objectness, reg_loss, gt_instances, *args, **kwargs)
