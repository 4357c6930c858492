"""Weighting the losses of GuidedAnchorHead, GARetinaHead and GARPNHead."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.task_modules.prior_generators import calc_region

from .anchor import AnchorAdapter
from .tensors import spread, times

__all__ = ['GuidedAnchorAdapter']


class GuidedAnchorAdapter(AnchorAdapter):
    """Weights also the anchors' shape loss and location loss.

    Shapes have a sampler and targets of their own, treated alike. The location loss has a map of
    cells: a cell of a box's centre region is multiplied by the box's weight, a cell in several
    boxes' centre regions by that of the last, whose region mmdet paints last. Which regions
    these are is computed here once more, since mmdet's map does not tell, with mmdet's
    `calc_region` for all boxes at once.

    Source: Wang et al., Region Proposal by Guided Anchoring, arXiv 1901.03278 section 3.2; mmdet
    ``GuidedAnchorHead.ga_loc_targets``.
    """

    needs = ('sampler', 'ga_sampler')

    def attach_targets(self, head: Any) -> None:
        """Wraps both samplers and the targets of boxes, shapes and locations."""
        super().attach_targets(head)
        self.wrap(head.ga_sampler, 'sample', self._sample)
        self.wrap(head, '_ga_shape_target_single', self._shape_targets)
        self.wrap(head, 'ga_loc_targets', self._loc_targets)

    def _shape_targets(self, call: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Makes one image's shape targets and multiplies their weights."""
        result, sampled, weights = self.noted(call, args, kwargs, 5)
        anchors, boxes, shape_weights, *rest = result
        elements = spread(shape_weights[:, 0] > 0, self.factors(sampled, weights))
        return anchors, boxes, times(shape_weights, elements), *rest

    def _loc_targets(self, call: Any, batch_gt_instances: Any, featmap_sizes: Any) -> Any:
        """Makes the location targets of all levels and multiplies their weights."""
        targets, weights, avg_factor = call(batch_gt_instances, featmap_sizes)
        maps = [self._centre_weights(item.bboxes, self.weights_of(item), featmap_sizes)
                for item in batch_gt_instances]
        weights = [torch.where(target > 0, weight * torch.stack(level).to(weight.dtype)[:, None],
                               weight)
                   for target, weight, level in zip(targets, weights, zip(*maps, strict=True),
                                                    strict=True)]
        return targets, weights, avg_factor

    def _centre_weights(self, boxes: torch.Tensor, weights: torch.Tensor,
                        featmap_sizes: Any) -> list[torch.Tensor]:
        """Per level ``(height, width)``: the weight of the box whose centre a cell is in, or 1."""
        if not len(boxes):
            return [weights.new_ones(tuple(size)) for size in featmap_sizes]
        generator = self.head.approx_anchor_generator
        strides = [stride[0] for stride in generator.strides]
        scale = torch.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        least = scale.new_full((1,), float(generator.octave_base_scale * strides[0]))
        levels = torch.floor(torch.log2(scale) - torch.log2(least) + 0.5)
        levels = levels.clamp(min=0, max=len(strides) - 1)
        number = torch.arange(1, len(boxes) + 1, dtype=torch.int16, device=boxes.device)
        table = torch.cat([weights.new_ones(1), weights])
        border = (1 - self.head.train_cfg['center_ratio']) / 2
        maps = []
        for level, (stride, (height, width)) in enumerate(zip(strides, featmap_sizes,
                                                              strict=True)):
            x1, y1, x2, y2 = (line[:, None] for line in calc_region(
                (boxes[:, :4] / stride).T, border, (height, width)))
            x = torch.arange(width, device=boxes.device)
            y = torch.arange(height, device=boxes.device)
            columns = (x >= x1) & (x <= x2) & (levels == level)[:, None]
            rows = (y >= y1) & (y <= y2)
            inside = rows[:, :, None] & columns[:, None, :]
            maps.append(table[(inside * number[:, None, None]).amax(0).long()])
        return maps
