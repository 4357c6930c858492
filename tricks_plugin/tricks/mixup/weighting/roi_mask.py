"""Weighting the losses of RoI heads' parts that see positives alone: mask, point and grid heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.losses import CrossEntropyLoss, DiceLoss, L1Loss, MSELoss, SmoothL1Loss
from mmdet.models.roi_heads import FCNMaskHead, GridHead, MaskIoUHead, MaskPointHead

from .base import HeadAdapter
from .losses import LossCall
from .roi_rows import positive_weights, sampled
from .tensors import select, shaped

__all__ = ['GridTerms', 'MaskIoUTerms', 'PositiveTerms', 'attach_terms', 'has_terms']


class PositiveTerms:
    """Multiplies the terms of a head's one loss, which has one row per positive RoI.

    Upstream calls these losses without element weights. They are handed some, except for
    the mask cross entropy, which has no argument for it: there the factors go where its
    ``class_weight`` goes, which is nothing but the element weight of torch's binary cross entropy
    on the masks of the positives' classes. Both leave the mean's denominator alone.

    Attributes:
        factors: ``(num_pos,)`` while the head computes its loss, None otherwise.
    """

    def __init__(self, adapter: HeadAdapter, head: Any, loss: Any) -> None:
        self.factors: torch.Tensor | None = None
        self.adapter = adapter
        self.attach(head)
        if getattr(loss, 'use_mask', False):
            adapter.wrap(loss, 'cls_criterion', self._criterion)
        else:
            adapter.weigh(loss, self._of_rows, elementwise=not isinstance(loss, DiceLoss))

    def attach(self, head: Any) -> None:
        """Wraps the method that gets the sampling results and calls the loss."""
        self.adapter.wrap(head, 'loss_and_target', self._loss_and_target)

    def within(self, factors: torch.Tensor, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls what calls the loss, with factors for it."""
        self.adapter.count(factors)
        self.factors = factors
        try:
            return call(*args, **kwargs)
        finally:
            self.factors = None

    def rows(self, factors: torch.Tensor, pred: torch.Tensor) -> torch.Tensor:
        """The factors of the loss's rows.

        Raises:
            ValueError: If the loss does not get one row per positive.
        """
        if len(factors) != len(pred):
            raise ValueError('MixUpWeightingHook: a mask or grid loss must get one row per '
                             f'positive, {len(factors)}, got {len(pred)}')
        return factors

    def _loss_and_target(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        return self.within(positive_weights(sampled(args, kwargs)), call, *args, **kwargs)

    def _of_rows(self, loss: LossCall) -> torch.Tensor | None:
        return None if self.factors is None else self.rows(self.factors, loss.pred)

    def _criterion(self, call: Any, pred: torch.Tensor, *args: Any, class_weight: Any = None,
                   **kwargs: Any) -> Any:
        if self.factors is not None:
            # Of the predictions, the criterion takes the channel of the positive's class.
            factors = shaped(self.rows(self.factors, pred), pred[:, 0])
            class_weight = factors if class_weight is None else class_weight * factors
        return call(pred, *args, class_weight=class_weight, **kwargs)


class MaskIoUTerms(PositiveTerms):
    """The mask IoU head drops the positives whose target is 0 before its loss."""

    def attach(self, head: Any) -> None:
        """Wraps the targets too."""
        super().attach(head)
        self.adapter.wrap(head, 'get_targets', self._targets)

    def _targets(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        targets = call(*args, **kwargs)
        if self.factors is not None:
            self.factors = select(self.factors, targets > 0)
        return targets

    def rows(self, factors: torch.Tensor, pred: torch.Tensor) -> torch.Tensor:
        """The first ones, those with a target above 0."""
        return factors[:len(pred)]


class GridTerms(PositiveTerms):
    """The grid head trains on a random subset of the positives."""

    def attach(self, head: Any) -> None:
        """Wraps the method that gets the subset."""
        self.adapter.wrap(head, 'loss', self._loss)

    def _loss(self, call: Any, grid_pred: Any, sample_idx: torch.Tensor,
              sampling_results: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        factors = positive_weights(sampled((sampling_results,), {}))[sample_idx]
        return self.within(factors, call, grid_pred, sample_idx, sampling_results, *args, **kwargs)


_KINDS: dict[type, tuple[type[PositiveTerms], str]] = {
    FCNMaskHead: (PositiveTerms, 'loss_mask'), MaskPointHead: (PositiveTerms, 'loss_point'),
    MaskIoUHead: (MaskIoUTerms, 'loss_iou'), GridHead: (GridTerms, 'loss_grid')}


def has_terms(head: torch.nn.Module) -> bool:
    """Whether a module is a mask, point, mask IoU or grid head with a loss that can be weighted."""
    name = next((name for kind, (_, name) in _KINDS.items() if isinstance(head, kind)), '')
    loss = getattr(head, name, None)
    if isinstance(loss, CrossEntropyLoss):
        return bool(loss.use_mask or loss.use_sigmoid)
    return isinstance(loss, (DiceLoss, MSELoss, L1Loss, SmoothL1Loss))


def attach_terms(adapter: HeadAdapter, head: torch.nn.Module) -> PositiveTerms:
    """Weights the loss of a head that `has_terms`."""
    terms, name = next(found for kind, found in _KINDS.items() if isinstance(head, kind))
    return terms(adapter, head, getattr(head, name))
