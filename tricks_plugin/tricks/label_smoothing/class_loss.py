"""mmpretrain's classification loss with smoothed targets; needs neither mmpretrain nor mmdet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from .functional import VARIANTS, default_variant, one_hot_classes, soft_cross_entropy
from .smoother import TargetSmoother

__all__ = ['SmoothedClassificationLoss']


@MODELS.register_module()
class SmoothedClassificationLoss(nn.Module):
    """mmpretrain's CrossEntropyLoss, softmax or sigmoid, with smoothed labels.

    With ``eps`` towards 0 it is mmpretrain's loss. ``state_dict`` has no keys, as that one's.
    Labels are class numbers, or shares of the classes: those of a mixture are smoothed as the
    mixture of two smoothed labels; of a row with several labels (sigmoid) each becomes the true
    class's target. A row without any label stays as it is.

    Args:
        use_sigmoid: Whether each class has a sigmoid of its own.
        use_soft: Taken for mmpretrain's sake: both forms of labels are understood in any case.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: Factor of the loss.
        class_weight: Shape (K,); a weight of each class's term.
        pos_weight: Shape (K,); BCE's, with a sigmoid alone.
        eps: Smoothing, from 0 to below 1.
        variant: A key of `VARIANTS`; None for ``szegedy`` with sigmoid, ``he`` with softmax (BoT
            section 5.2).

    Raises:
        ValueError: If the variant is unknown, ``eps`` out of bounds, or the variant's targets do
            not sum to 1 with softmax.
    """

    def __init__(
        self, use_sigmoid: bool = False, use_soft: bool = False, reduction: str = 'mean',
        loss_weight: float = 1.0, class_weight: Sequence[float] | None = None,
        pos_weight: Sequence[float] | None = None, eps: float = 0.1, variant: str | None = None,
    ) -> None:
        super().__init__()
        self.use_sigmoid, self.reduction, self.loss_weight = use_sigmoid, reduction, loss_weight
        self.class_weight, self.pos_weight = class_weight, pos_weight
        self.smoother = TargetSmoother(
            eps, default_variant(use_sigmoid) if variant is None else variant)
        known = VARIANTS[self.smoother.variant]
        if not (use_sigmoid or known.sums_to_one):
            raise ValueError(f'variant must have targets that sum to 1 for a softmax, got '
                             f'{variant!r} ({known.pos_formula}, {known.neg_formula})')

    def forward(
        self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None,
        avg_factor: float | None = None, reduction_override: str | None = None, **kwargs: Any,
    ) -> Tensor:
        """The loss; the arguments and their meaning are those of mmpretrain's CrossEntropyLoss.

        Args:
            cls_score: Logits, shape (N, K).
            label: Class numbers, shape (N,) or (N, 1), or shares of the classes, shape (N, K).
            weight: Of each image, shape (N,).
            avg_factor: What the sum is divided by, with reduction 'mean'.
            reduction_override: In the place of ``reduction``.
            **kwargs: Ignored, as what heads hand over beside these means nothing here.

        Raises:
            ValueError: If ``avg_factor`` comes with the reduction ``sum``.
        """
        classes = cls_score.shape[-1]
        if label.dim() == 1 or label.shape[-1] != classes:
            label = one_hot_classes(label.reshape(-1), classes)
        soft = self.smoother(label)
        weights = None if self.class_weight is None else cls_score.new_tensor(self.class_weight)
        if self.use_sigmoid:
            positive = None if self.pos_weight is None else cls_score.new_tensor(self.pos_weight)
            loss = F.binary_cross_entropy_with_logits(
                cls_score, soft, weights, pos_weight=positive, reduction='none')
            weight = None if weight is None else weight.reshape(-1, 1)
        else:
            loss = soft_cross_entropy(cls_score, soft, weights, 'none')
        if weight is not None:
            loss = loss * weight.float()
        return self.loss_weight * _reduce(loss, reduction_override or self.reduction, avg_factor)


def _reduce(loss: Tensor, reduction: str, avg_factor: float | None) -> Tensor:
    if avg_factor is None or reduction == 'none':
        return loss if reduction == 'none' else getattr(loss, reduction)()
    if reduction != 'mean':
        raise ValueError(f'avg_factor goes with reduction mean, got {reduction!r}')
    return loss.sum() / avg_factor
