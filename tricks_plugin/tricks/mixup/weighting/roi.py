"""Weighting the losses of mmdet's RoI heads: their box heads, and through `roi_mask` the others."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.losses import GHMC, GHMR, EQLV2Loss
from mmdet.models.roi_heads import BBoxHead

from .base import HeadAdapter, times
from .roi_mask import attach_terms, has_terms
from .roi_rows import RoIRows, each, element_weight, positive_weights, sampled, with_weight

__all__ = ['QueryRoIAdapter', 'RoIAdapter']

# They take element weights and use no more than which of them are above 0, if at all.
_WEIGHTLESS = (EQLV2Loss, GHMC, GHMR)


class RoIAdapter(HeadAdapter):
    """Multiplies the element weights of the losses of a RoI head's box, mask and grid heads.

    The RoI head's samplers are asked once per image; each sampling result then carries its
    positives' weights, as ``mixup_weights``, to wherever it is used. A box head's `get_targets`
    turns them into the factors of its rows, and a pre-hook on each of its losses multiplies the
    element weight just before the loss. What reads the targets or weights in between (PISA's
    ISR-P, the ``beta`` of Dynamic R-CNN, ``avg_factor``) sees upstream's. While a sampler works
    (OHEM, score-HLR) nothing is weighted.

    Box heads that are no `BBoxHead` or have a loss that ignores weights (EQLv2, GHM), and mask
    heads with other losses than `roi_mask` knows, stay unweighted; the RoI head's others do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rows: RoIRows | None = None

    @classmethod
    def supports(cls, head: torch.nn.Module) -> bool:
        """Whether the head trains, and holds a box, mask or grid head that can be weighted."""
        return bool(_samplers(head)) and bool(
            _box_heads(head) or any(has_terms(part) for part in head.modules()))

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, the samplers and the inner heads, and hooks their losses."""
        self.wrap(head, 'loss', self._batch)
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
            self.before_loss(loss, functools.partial(self.weigh, name))
        self.parts = boxes + masks

    def attach_box(self, box: Any) -> None:
        """Wraps what a box head makes of the sampling results."""
        self.wrap(box, 'get_targets', self._targets)

    def _batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        self._rows = None
        try:
            return call(*args, **kwargs)
        finally:
            self._rows = None

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

    def weigh(self, name: str, module: torch.nn.Module, args: tuple[Any, ...],
              kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Multiplies a loss's element weight by its rows' factors."""
        if self._rows is None:
            return None
        weight = element_weight(args, kwargs)
        pred = args[0]
        if weight is None and name == 'loss_cls' and kwargs.get('reduction_override') == 'none':
            return None  # ISR-P measures losses for its normalisation
        factors = self._rows.fit(name, len(pred if weight is None else weight))
        if weight is None and name != 'loss_cls':  # CARL
            factors = factors.reshape(-1, *[1] * (pred.dim() - 1)).expand(pred.shape)
        return with_weight(args, kwargs, times(weight, factors))


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
    return {} if any(isinstance(loss, _WEIGHTLESS) for loss in losses.values()) else losses
