"""Weighting the losses of mmdet's RoI heads: their box heads, and through `roi_mask` the others."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.roi_heads import BBoxHead

from .base import HeadAdapter
from .losses import LossCall, ignores_weight
from .roi_mask import attach_terms, has_terms
from .roi_rows import RoIRows, each, positive_weights, sampled

__all__ = ['QueryRoIAdapter', 'RoIAdapter']


class RoIAdapter(HeadAdapter):
    """Multiplies the element weights of the losses of a RoI head's box, mask and grid heads.

    The RoI head's samplers are asked once per image; each sampling result then carries its
    positives' weights, as ``mixup_weights``, to wherever it is used. A box head's `get_targets`
    turns them into the factors of its rows, and the element weight of each of its losses is
    multiplied just before the loss. What reads the targets or weights in between (PISA's
    ISR-P, the ``beta`` of Dynamic R-CNN, ``avg_factor``) sees upstream's. While a sampler works
    (OHEM, score-HLR) nothing is weighted.

    Box heads that are no `BBoxHead` or have a loss that ignores weights (EQLv2, GHM), and mask
    heads with other losses than `roi_mask` knows, stay unweighted; the RoI head's others do not.
    """

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains, and holds a box, mask or grid head that can be weighted."""
        return bool(_samplers(head)) and bool(
            _box_heads(head) or any(has_terms(part) for part in head.modules()))

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, the samplers and the inner heads, and weighs their losses."""
        self.begin(head, 'loss')
        for sampler in _samplers(head):
            self.wrap(sampler, 'sample', self._sample)
        boxes = _box_heads(head)
        for box in boxes:
            self.attach_box(box)
        masks = [part for part in head.modules() if has_terms(part)]
        for mask in masks:
            attach_terms(self, mask)
        losses = {id(loss): (name, loss) for box in boxes for name, loss in _losses(box).items()}
        for name, loss in losses.values():
            self.weigh(loss, functools.partial(self.factors_of, name),
                       elementwise=name != 'loss_cls')  # as CARL's, without a weight
        self.parts = boxes + masks

    def attach_box(self, box: Any) -> None:
        """Wraps what a box head makes of the sampling results."""
        self.wrap(box, 'get_targets', self._targets)

    def reset(self) -> None:
        """Forgets the rows of the present losses."""
        self._rows: RoIRows | None = None

    def _sample(self, call: Any, assign_result: Any, pred_instances: Any, gt_instances: Any,
                *args: Any, **kwargs: Any) -> Any:
        """Gives one image's sampling result its positives' weights; losses inside stay as is."""
        self._rows = None
        returned = call(assign_result, pred_instances, gt_instances, *args, **kwargs)
        result = returned[0] if isinstance(returned, tuple) else returned  # as score-HLR's
        self.note(result, self.weights_of(gt_instances))
        return returned

    def note(self, result: Any, weights: torch.Tensor) -> None:
        """Gives a sampling result its positives' weights.

        Args:
            result: Of one image; gets the attribute ``mixup_weights``.
            weights: Of the image's boxes, ``(num_boxes,)``.
        """
        result.mixup_weights = weights[result.pos_assigned_gt_inds.long()]

    def _targets(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Turns the sampling results into the factors of the losses that follow."""
        targets = call(*args, **kwargs)
        self._rows = self.rows_of(sampled(args, kwargs))
        self.count(self._rows.positives)
        return targets

    def rows_of(self, results: Sequence[Any]) -> RoIRows:
        """The factors of the RoIs, each image's positives first as in `SamplingResult.priors`."""
        rows = []
        for result in results:
            weights = result.mixup_weights
            rows += [weights, weights.new_ones(len(result.neg_inds))]
        return RoIRows(torch.cat(rows), positive_weights(results))

    def factors_of(self, name: str, loss: LossCall) -> torch.Tensor | None:
        """The factors of the rows of one call of a loss."""
        if self._rows is None or (loss.weight is None and name == 'loss_cls' and loss.kwargs.get(
                'reduction_override') == 'none'):  # ISR-P measures losses for its normalisation
            return None
        return self._rows.fit(name, len(loss.pred if loss.weight is None else loss.weight))


class QueryRoIAdapter(RoIAdapter):
    """The same for Sparse R-CNN and QueryInst, whose rows are the queries in their own order."""

    def rows_of(self, results: Sequence[Any]) -> RoIRows:
        """The factors of the queries; the sampler gives the positives in ascending order."""
        rows = []
        for result in results:
            weights = result.mixup_weights
            row = weights.new_ones(len(result.pos_inds) + len(result.neg_inds))
            row[result.pos_inds] = weights
            rows.append(row)
        return RoIRows(torch.cat(rows), positive_weights(results))


def _samplers(head: Any) -> list[Any]:
    return each(getattr(head, 'bbox_sampler', None))


def _box_heads(head: Any) -> list[Any]:
    return [box for box in each(getattr(head, 'bbox_head', None))
            if isinstance(box, BBoxHead) and _losses(box)]


def _losses(box: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """A box head's losses by name; none if one of them ignores weights."""
    losses = {name: child for name, child in box.named_children() if name.startswith('loss')}
    return {} if any(map(ignores_weight, losses.values())) else losses
