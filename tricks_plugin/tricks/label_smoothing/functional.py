"""The arithmetic of label smoothing: one-hot rows, smoothed rows, and losses.

Every variant replaces the one-hot target of an object by two numbers: ``pos`` for its class and
``neg`` for each of the others. They differ in what their ``eps`` means; see `variants`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .variants import (
    SMOOTHING_VARIANTS,
    SmoothingVariant,
    check_smoothing,
    convert_eps,
    default_smoothing_variant,
    smoothing_targets,
)

__all__ = ['SMOOTHING_VARIANTS', 'SmoothingVariant', 'check_smoothing', 'convert_eps',
           'default_smoothing_variant', 'one_hot_classes', 'one_hot_labels', 'smooth_one_hot',
           'smoothed_cross_entropy', 'smoothing_targets', 'soft_cross_entropy']

# Short, as the modules of this room say it.
VARIANTS, Variant = SMOOTHING_VARIANTS, SmoothingVariant
default_variant, targets = default_smoothing_variant, smoothing_targets

_REDUCTIONS = ('none', 'mean', 'sum')
Reduction = Literal['none', 'mean', 'sum']


def one_hot_labels(labels: Tensor, num_classes: int, ignore_index: int = -100) -> Tensor:
    """One-hot rows, on the labels' device.

    Args:
        labels: Integers of any shape S.
        num_classes: K.
        ignore_index: The label of rows to leave empty.

    Returns:
        A bool tensor of shape (*S, K). Rows whose label is not in [0, K) hold no True: in mmdet,
        label K of a sigmoid head is background.

    Example:
        >>> one_hot_labels(torch.tensor([1, 3]), num_classes=3).int().tolist()
        [[0, 1, 0], [0, 0, 0]]
    """
    classes = torch.arange(num_classes, device=labels.device)
    hot = labels.unsqueeze(-1) == classes
    return hot & (labels != ignore_index).unsqueeze(-1)


def one_hot_classes(labels: Tensor, num_classes: int, ignore_index: int = -100) -> Tensor:
    """As `one_hot_labels`, for a softmax, where every label must be a class.

    Raises:
        RuntimeError: From torch (on CUDA: a device assertion), if a label is neither in [0, K) nor
            ``ignore_index``.

    Example:
        >>> one_hot_classes(torch.tensor([1, -100]), num_classes=3).int().tolist()
        [[0, 1, 0], [0, 0, 0]]
    """
    kept = labels != ignore_index
    hot = F.one_hot(labels.masked_fill(~kept, 0), num_classes).bool()
    return hot & kept.unsqueeze(-1)


def smooth_one_hot(one_hot: Tensor, eps: float = 0.1, variant: str | None = None) -> Tensor:
    """Spreads the label of every row that holds one.

    A row of zeros (background of a sigmoid head, ignored) stays as it is: smoothing spreads an
    object's label over the classes, and a dense head has about 100,000 background rows, each of
    which would be taught ``neg`` of every class. Values between 0 and 1 (mixed labels) are mapped
    linearly.

    Args:
        one_hot: Shape (..., K), bool, integer or floating, in [0, 1].
        eps: Smoothing in the variant's sense.
        variant: A key of `SMOOTHING_VARIANTS`. Without one it is ``he``, with a warning in this
            release: it was ``szegedy``.

    Returns:
        A new tensor of the same shape, float32 (float64 for float64 input).

    Raises:
        ValueError: If K is 1, or an argument breaks the rules of `check_smoothing`.

    Example:
        >>> one_hot = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]])
        >>> [round(value, 3) for value in smooth_one_hot(one_hot, 0.1, 'he')[0].tolist()]
        [0.025, 0.9, 0.025, 0.025, 0.025]
    """
    if variant is None:
        warnings.warn("smooth_one_hot's default variant is 'he' now, as everywhere, and was "
                      "'szegedy': name the variant", DeprecationWarning, stacklevel=2)
        variant = 'he'
    pos, neg = smoothing_targets(variant, eps, one_hot.shape[-1])
    dtype = torch.float64 if one_hot.dtype == torch.float64 else torch.float32
    holds = (one_hot > 0).any(dim=-1, keepdim=True)
    return one_hot.to(dtype) * (pos - neg) + holds.to(dtype) * neg


def soft_cross_entropy(
    logits: Tensor,
    soft: Tensor,
    class_weight: Sequence[float] | Tensor | None = None,
    reduction: Reduction | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """``-sum_c w_c q_c log p_c``, softmax cross entropy with the targets q as they are.

    Args:
        logits: Shape (..., K).
        soft: Targets q of the same shape, where a row of zeros costs nothing and does not count;
            or integers of shape (...) in [0, K), or ``ignore_index``.
        class_weight: w, shape (K,).
        reduction: ``'none'``, ``'sum'`` or ``'mean'``, see `smoothed_cross_entropy`. Without one
            it is ``'none'``, with a warning in this release: the next one's default is ``'mean'``.
        ignore_index: Label of rows that cost nothing and do not count.

    Returns:
        Shape (...) for ``'none'``, else a scalar.

    Raises:
        ValueError: If the shapes do not fit, or ``reduction`` is none of the three.

    Example:
        >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
        >>> soft = torch.tensor([[0.7, 0.3, 0.0]])
        >>> round(soft_cross_entropy(logits, soft, reduction='mean').item(), 4)
        0.7076
    """
    if reduction is None:
        warnings.warn("soft_cross_entropy without a reduction gives 'none' for the last time; the "
                      "next release's default is 'mean': name it", DeprecationWarning, stacklevel=2)
        reduction = 'none'
    rows = _soft_labels(logits, soft, ignore_index)
    return _cross_entropy(logits, rows, rows, soft, class_weight, reduction)


def smoothed_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    eps: float = 0.1,
    variant: str = 'he',
    reduction: Reduction = 'mean',
    class_weight: Sequence[float] | Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Softmax cross entropy with smoothed labels.

    Args:
        logits: Shape (..., K).
        labels: Integers of shape (...) in [0, K), or ``ignore_index``; or soft labels of the
            logits' shape, such as `mixup_batch` makes, which are smoothed too. A row of zeros costs
            nothing and does not count.
        eps: Smoothing in the variant's sense; 0 for plain cross entropy.
        variant: One whose targets sum to 1: ``he``, ``szegedy`` (as torch and timm mean their
            smoothing) or ``classy_vision``. `convert_eps` tells the eps of one in another.
        reduction: ``'mean'`` over the rows that count, as torch does: with integer labels and class
            weights it divides by the sum of the labels' weights. 0 where no row counts, where torch
            gives nan. ``'sum'``, or ``'none'``.
        class_weight: Shape (K,). Weights each class's term, not only the true one's, as torch does.
        ignore_index: Label of rows that cost nothing and do not count.

    Returns:
        A scalar; shape (...) for ``'none'``.

    Raises:
        ValueError: If the shapes do not fit, the variant's targets do not sum to 1, ``reduction``
            is none of the three, or an argument breaks the rules of `check_smoothing`.
        RuntimeError: From torch, if an integer label is out of range.

    Example:
        >>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
        >>> round(smoothed_cross_entropy(logits, torch.tensor([0]), eps=0.1).item(), 4)
        0.6402

    Source: BoT (arXiv 1812.01187) section 5.2.
    """
    check_smoothing(variant, eps, logits.shape[-1])
    if not SMOOTHING_VARIANTS[variant].sums_to_one:
        raise ValueError(f'variant must have targets that sum to 1 for a softmax, got {variant!r}')
    soft = _soft_labels(logits, labels, ignore_index)
    exact = soft.double() if logits.dtype == torch.float64 else soft
    smoothed = smooth_one_hot(exact, eps, variant)
    return _cross_entropy(logits, smoothed, soft, labels, class_weight, reduction)


def smoothed_softmax_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    eps: float = 0.1,
    variant: str = 'he',
    class_weight: Sequence[float] | Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """As `smoothed_cross_entropy` without reduction, which it was before there was one."""
    return smoothed_cross_entropy(logits, labels, eps, variant, 'none', class_weight, ignore_index)


def _soft_labels(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """The rows of targets behind integer or soft labels."""
    if labels.shape == logits.shape:
        return labels
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    if whole and labels.shape == logits.shape[:-1]:
        return one_hot_classes(labels.long(), logits.shape[-1], ignore_index)
    raise ValueError(f'labels must be integers of shape {tuple(logits.shape[:-1])} or soft labels '
                     f'of shape {tuple(logits.shape)}, got {labels.dtype} of shape '
                     f'{tuple(labels.shape)}')


def _cross_entropy(
    logits: Tensor, wanted: Tensor, soft: Tensor, labels: Tensor,
    class_weight: Sequence[float] | Tensor | None, reduction: Reduction,
) -> Tensor:
    """The loss for the targets ``wanted``; ``soft`` are those before smoothing."""
    if reduction not in _REDUCTIONS:
        raise ValueError(f'reduction must be one of {list(_REDUCTIONS)}, got {reduction!r}')
    log_p = F.log_softmax(logits, dim=-1)
    weight = None
    if class_weight is not None:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        weight = torch.as_tensor(class_weight, dtype=dtype, device=logits.device)
        wanted = wanted * weight
    # A class that is masked by a logit of -inf costs nothing where nothing is wanted of it.
    loss = -(wanted * log_p).masked_fill(wanted == 0, 0).sum(dim=-1)
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        return loss.sum()
    counted = (soft > 0).any(dim=-1).to(loss.dtype)
    if weight is not None and labels.shape != logits.shape:
        counted = (soft * weight).sum(dim=-1)
    total = counted.sum()
    return loss.sum() / torch.where(total > 0, total, torch.ones_like(total))
