"""mmdet's classification losses with smoothed targets."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.losses import CrossEntropyLoss, FocalLoss
from mmdet.models.losses.utils import weight_reduce_loss
from mmengine.registry import MODELS
from torch import Tensor

from .functional import (
    VARIANTS,
    default_variant,
    one_hot_classes,
    one_hot_labels,
    soft_cross_entropy,
)
from .smoother import TargetSmoother

__all__ = ['SmoothedCrossEntropyLoss', 'SmoothedFocalLoss']


@MODELS.register_module()
class SmoothedCrossEntropyLoss(CrossEntropyLoss):
    """mmdet's CrossEntropyLoss, softmax or sigmoid, with smoothed labels.

    With ``eps`` towards 0 it is the parent's loss. ``state_dict`` has no keys, as the parent's.

    Softmax: K counts every logit, background included, which mmdet's heads treat as one more
    class; the rows of background are smoothed as any other. ``class_weight`` weights each class's
    term, ``-sum_c w_c q_c log p_c``, as in torch.

    Sigmoid: K counts the classes; only rows that hold an object are smoothed, see
    `smooth_one_hot`. ``class_weight`` is BCE's ``pos_weight``, as in the parent.

    Args:
        *args: As the parent's.
        eps: Smoothing, from 0 to below 1.
        variant: A key of `VARIANTS`; None for ``szegedy`` with sigmoid (BoF section 3.2), ``he``
            with softmax (BoT section 5.2).
        **kwargs: As the parent's.

    Raises:
        ValueError: If the variant is unknown, ``eps`` out of bounds, the loss a mask loss, or the
            variant's targets do not sum to 1 with softmax.
    """

    def __init__(self, *args: Any, eps: float = 0.1, variant: str | None = None,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.use_mask:
            raise ValueError('use_mask must be False: a mask is no class label to smooth, got True')
        self.smoother = TargetSmoother(
            eps, default_variant(self.use_sigmoid) if variant is None else variant)
        known = VARIANTS[self.smoother.variant]
        if not (self.use_sigmoid or known.sums_to_one):
            raise ValueError(f'variant must have targets that sum to 1 for a softmax, got '
                             f'{variant!r} ({known.pos_formula}, {known.neg_formula})')
        self.cls_criterion = self._sigmoid if self.use_sigmoid else self._softmax

    def _softmax(
        self,
        pred: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: Any = None,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
        avg_non_ignore: bool = False,
    ) -> Tensor:
        """Softmax loss; the arguments and their meaning are those of mmdet's ``cross_entropy``.

        ``pred`` has shape (N, K, ...); ``label`` holds class indices, shape (N, ...), or
        probabilities of ``pred``'s shape; ``weight`` has shape (N, ...).
        """
        ignore_index = -100 if ignore_index is None else ignore_index
        logits = pred.movedim(1, -1)
        if label.dim() == pred.dim():
            one_hot = label.movedim(1, -1)
        else:
            one_hot = one_hot_classes(label, logits.shape[-1], ignore_index)
        loss = soft_cross_entropy(logits, self.smoother(one_hot), class_weight, 'none')
        if avg_factor is None and avg_non_ignore and reduction == 'mean':
            avg_factor = label.numel() - (label == ignore_index).sum().item()
        weight = None if weight is None else weight.float()
        return weight_reduce_loss(loss, weight, reduction, avg_factor)

    def _sigmoid(
        self,
        pred: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: Any = None,
        class_weight: Tensor | None = None,
        ignore_index: int | None = -100,
        avg_non_ignore: bool = False,
    ) -> Tensor:
        """Sigmoid loss; the arguments and their meaning are those of ``binary_cross_entropy``.

        ``pred`` has shape (N, K), or (..., K) with one-hot labels; ``label`` holds class indices,
        shape (N,), K meaning background, or one-hot rows of ``pred``'s shape; ``weight`` has shape
        (N,), with one-hot labels any that broadcasts to ``pred``'s.

        Raises:
            ValueError: If ``pred`` has no dimension of classes.
        """
        if pred.dim() < 2:
            raise ValueError('pred must be of shape (..., K) to be smoothed over K classes, got '
                             f'{tuple(pred.shape)}')
        ignore_index = -100 if ignore_index is None else ignore_index
        valid = (label >= 0) & (label != ignore_index)
        if label.dim() == pred.dim():
            one_hot = torch.where(valid, label, torch.zeros_like(label))
        else:
            one_hot = one_hot_labels(label, pred.shape[-1], ignore_index)
            valid = valid.view(-1, 1).expand_as(pred)
            weight = None if weight is None else weight.view(-1, 1)
        counted = valid.float()
        if avg_factor is None and avg_non_ignore and reduction == 'mean':
            avg_factor = counted.sum().item()
        loss = F.binary_cross_entropy_with_logits(
            pred, self.smoother(one_hot), pos_weight=class_weight, reduction='none')
        weight = counted if weight is None else (weight * counted).float()
        return weight_reduce_loss(loss, weight, reduction, avg_factor)


@MODELS.register_module()
class SmoothedFocalLoss(FocalLoss):
    """mmdet's FocalLoss with the labels of objects smoothed.

    Only rows that hold an object are smoothed, see `smooth_one_hot`; their modulating factor and
    alpha follow from the smoothed target, as in mmdet's Python formula, since the CUDA operator
    takes class indices only. Background rows take the parent's way, so on CUDA the operator, whose
    loss the rows of objects then replace: the memory on top of the parent's is one copy of the
    loss, N * K values. One-hot or activated input takes the Python formula whole, as in the parent.

    With ``eps`` towards 0 it is the parent's loss. ``state_dict`` has no keys, as the parent's.

    Args:
        *args: As the parent's.
        eps: Smoothing, from 0 to below 1.
        variant: A key of `VARIANTS`; None for ``szegedy`` (BoF section 3.2).
        **kwargs: As the parent's.

    Raises:
        ValueError: If the variant is unknown or ``eps`` out of bounds.
    """

    def __init__(self, *args: Any, eps: float = 0.1, variant: str | None = None,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.smoother = TargetSmoother(
            eps, default_variant(use_sigmoid=True) if variant is None else variant)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Any = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss; the arguments and their meaning are the parent's.

        ``pred`` holds logits (probabilities if ``activated``), shape (N, K); ``target`` class
        indices, shape (N,), K meaning background, or one-hot rows, shape (N, K); ``weight`` has
        shape (N,), (N, K) or (N * K,).

        Raises:
            ValueError: If ``reduction_override`` is unknown, or ``avg_factor`` comes with the
                reduction ``sum``.
        """
        if pred.dim() == target.dim() or self.activated:
            one_hot = target if pred.dim() == target.dim() else one_hot_labels(
                target, pred.shape[1])
            return super().forward(_at_least_float32(pred), self.smoother(one_hot), weight,
                                   avg_factor, reduction_override)
        if reduction_override not in (None, 'none', 'mean', 'sum'):
            raise ValueError("reduction_override must be None, 'none', 'mean' or 'sum', got "
                             f'{reduction_override!r}')
        loss = super().forward(pred, target, reduction_override='none')
        rows = ((target >= 0) & (target < pred.shape[1])).nonzero().squeeze(1)
        soft = self.smoother(one_hot_labels(target[rows], pred.shape[1]))
        smoothed = super().forward(_at_least_float32(pred[rows]), soft,
                                   reduction_override='none')
        loss = loss.index_copy(0, rows, smoothed.to(loss.dtype))
        if weight is not None and weight.shape != loss.shape:
            weight = weight.view(len(loss), -1)
        return weight_reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)


def _at_least_float32(pred: Tensor) -> Tensor:
    """Half precision widened: mmdet's Python formula casts the targets to its input's type."""
    return pred.to(torch.promote_types(pred.dtype, torch.float32))
