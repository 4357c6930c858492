"""Weighting the losses of mmdet's CenterNetUpdateHead (CenterNet2)."""

from __future__ import annotations

from typing import Any

import torch

from ....common.wrapped import During
from .base import HeadAdapter
from .losses import LossCall
from .tensors import select

__all__ = ['CenterNetUpdateAdapter']


class CenterNetUpdateAdapter(HeadAdapter):
    """Weights the positives of the heatmap's focal loss and of the box loss.

    A box's positives of the class are the points that `add_cls_pos_inds` lists for it; all other
    pixels, and the gaussians' part of the loss, stay. Its positives of the box loss are the
    points at which it has the least distance of all boxes. Denominators are counts, or sums of
    the heatmap's targets.
    """

    losses = ('loss_cls', 'loss_bbox')
    upstream = ('loss_by_feat', 'add_cls_pos_inds', 'get_targets', '_get_targets_single')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, targets and class loss, and weighs the box loss."""
        self.begin(head)
        self.wrap(head, 'get_targets', self._levels)
        self.wrap(head, '_get_targets_single', self._targets)
        self.wrap(head, 'add_cls_pos_inds', self._listed)
        self.wrap(head.loss_cls, 'forward', self._classify)
        self.weigh(head.loss_bbox, self._of_boxes)

    def reset(self) -> None:
        """Forgets the batch's points."""
        self._sizes: list[int] = []
        self._images: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._class_factors: torch.Tensor | None = None

    def _levels(self, call: Any, points: list[torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        self._sizes = [len(level) for level in points]
        return call(points, *args, **kwargs)

    def _targets(self, call: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes the box of each point, which is where upstream takes a minimum over boxes."""
        weights = self.weights_of(gt_instances)
        nearest: list[torch.Tensor] = []

        def note(tensors: Any, options: Any, result: Any) -> Any:
            if options.get('dim') == 1 and tensors[0].shape[1] == len(weights):
                nearest.append(result[1])
            return result

        with During(torch.Tensor.min, note):
            targets = call(gt_instances, *args, **kwargs)
        boxes = targets[1]
        factors = weights[nearest[0]] if nearest else weights.new_ones(len(boxes))
        self._images.append((factors, boxes.max(dim=1)[0] >= 0))
        return targets

    def _listed(self, call: Any, points: Any, predicted: Any, sizes: Any,
                batch_gt_instances: list[Any]) -> Any:
        """The class positives, whose labels name their boxes on the way."""
        weights = torch.cat([self.weights_of(item) for item in batch_gt_instances])
        labels = torch.cat([item.labels for item in batch_gt_instances])
        numbered, begin = [], 0
        for item in batch_gt_instances:
            named = item.new()
            named.labels = torch.arange(begin, begin + len(item), device=labels.device)
            begin += len(item)
            numbered.append(named)
        positives, boxes = call(points, predicted, sizes, numbered)
        if positives is None:
            return positives, boxes
        self._class_factors = weights[boxes]
        self.count(self._class_factors)
        return positives, labels[boxes]

    def _classify(self, call: Any, pred: torch.Tensor, target: torch.Tensor, *args: Any,
                  **kwargs: Any) -> Any:
        """Adds what the weights change at the positives, 0 for weights of 1.

        The loss ignores its ``weight`` where positives are listed. With a target of 1 in all
        channels it has no negatives: so it gives the positives' terms, one per row.
        """
        loss = call(pred, target, *args, **kwargs)
        factors, positives = self._class_factors, kwargs.get('pos_inds')
        if factors is None or positives is None:
            return loss
        rows = pred[positives]
        terms = call(rows, torch.ones_like(rows), pos_labels=kwargs['pos_labels'],
                     pos_inds=torch.arange(len(rows), device=rows.device),
                     reduction_override='none')[:, 0]
        more = (terms * (factors - 1)).sum()
        return loss + more / (kwargs['avg_factor'] + torch.finfo(torch.float32).eps)

    def _of_boxes(self, loss: LossCall) -> torch.Tensor | None:
        if not self._images or loss.weight is None:
            return None
        levels = zip(*[zip(*(part.split(self._sizes) for part in image), strict=True)
                       for image in self._images], strict=True)
        factors, inside = (torch.cat(parts) for parts in zip(
            *[image for level in levels for image in level], strict=True))
        return select(factors, inside, len(loss.pred))
