"""Weighting the losses of CondInstMaskHead and BoxInstMaskHead."""

from __future__ import annotations

from typing import Any

import torch

from .per_batch import PerBatchAdapter, accepts_weight, as_upstream, with_weight

__all__ = ['BoxInstMaskAdapter', 'CondInstMaskAdapter']


class CondInstMaskAdapter(PerBatchAdapter):
    """Gives the mask loss, called per image with one row per positive, the boxes' weights.

    The head may train on a part of an image's positives only, drawn or the best ones. To learn
    which, it is given their numbers in the place of the predicted masks, which it only selects
    from, and gets the selected masks back.
    """

    @classmethod
    def supports(cls, head: torch.nn.Module) -> bool:
        """Whether the loss takes weights and the targets are mmdet's."""
        return accepts_weight(head, ('loss_mask',)) and as_upstream(
            head, '_get_targets_single', 'loss_by_feat')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss and an image's targets, and hooks the loss."""
        self.begin(head)
        self.wrap(head, '_get_targets_single', self._targets)
        self.before_loss(head.loss_mask, self._weigh)

    def reset(self) -> None:
        """Forgets the present image's positives."""
        self._factors: torch.Tensor | None = None

    def _targets(self, call: Any, mask_preds: torch.Tensor, gt_instances: Any,
                 positive_info: Any) -> Any:
        self._factors = None
        weights = self.weights_of(gt_instances)
        boxes = positive_info.pos_assigned_gt_inds
        numbers = torch.arange(len(boxes), device=boxes.device)
        chosen, targets, *others = call(numbers, gt_instances, positive_info)
        if targets is None:
            return (mask_preds, targets, *others)
        self._factors = weights[boxes[chosen]]
        self.count(self._factors)
        return (mask_preds if chosen is numbers else mask_preds[chosen], targets, *others)

    def _weigh(self, module: torch.nn.Module, args: tuple[Any, ...],
               kwargs: dict[str, Any]) -> Any:
        if self._factors is None:
            return None
        per_mask = any(kind.__name__ == 'DiceLoss' for kind in type(module).__mro__)
        return with_weight(args, kwargs, self._factors if per_mask else
                           _rows(self._factors, args[0]))


class BoxInstMaskAdapter(CondInstMaskAdapter):
    """BoxInst: both projections of a positive's mask, and its pairwise terms."""

    @classmethod
    def supports(cls, head: torch.nn.Module) -> bool:
        """Whether the loss takes weights and the targets are mmdet's."""
        return super().supports(head) and as_upstream(head, 'get_pairwise_affinity')

    def attach(self, head: Any) -> None:
        """Wraps the affinities of neighbouring pixels, too."""
        super().attach(head)
        self.wrap(head, 'get_pairwise_affinity', self._affinity)

    def _affinity(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        affinity = call(*args, **kwargs)
        return affinity if self._factors is None else affinity * _rows(self._factors, affinity)


def _rows(factors: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``(n,)`` as ``(n, 1, ...)`` with the dimensions of a tensor."""
    return factors.reshape(-1, *[1] * (like.dim() - 1))
