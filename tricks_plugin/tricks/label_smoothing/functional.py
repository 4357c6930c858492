"""The arithmetic of label smoothing: named variants, conversions between them, and losses.

Every variant replaces the one-hot target of an object by two numbers: ``pos`` for its class and
``neg`` for each of the others. They differ in what their ``eps`` means.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['VARIANTS', 'Variant', 'check_smoothing', 'convert_eps', 'default_variant',
           'one_hot_classes', 'one_hot_labels', 'smooth_one_hot',
           'smoothed_softmax_cross_entropy', 'soft_cross_entropy', 'targets']


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to spread a label.

    Attributes:
        pos_formula: The target of the true class, for people.
        neg_formula: The target of every other class, for people.
        pair: ``(eps, K) -> (pos, neg)``.
        eps_from_neg: ``(neg, K) -> eps``, the inverse of ``pair``'s second value.
        sums_to_one: Whether ``pos + (K - 1) * neg`` is 1 for every K, which a softmax target needs.
        source: Where it comes from, and who else uses it.
    """

    pos_formula: str
    neg_formula: str
    pair: Callable[[float, int], tuple[float, float]]
    eps_from_neg: Callable[[float, int], float]
    sums_to_one: bool
    source: str


def _gluoncv_width(num_classes: int) -> float:
    return min(1 / num_classes, 1 / 40)


VARIANTS: dict[str, Variant] = {
    'he': Variant(
        '1 - eps', 'eps / (K - 1)',
        lambda eps, k: (1 - eps, eps / (k - 1)), lambda neg, k: neg * (k - 1), True,
        'He et al., arXiv 1812.01187, section 5.2'),
    'szegedy': Variant(
        '1 - eps + eps / K', 'eps / K',
        lambda eps, k: (1 - eps + eps / k, eps / k), lambda neg, k: neg * k, True,
        'Szegedy et al., arXiv 1512.00567, section 7; Zhang et al., arXiv 1902.04103 (sigmoid); '
        'torch, timm, mmpretrain "original", the one_hot_smoother of mmdet\'s YOLOV3Head'),
    'binary': Variant(
        '1 - eps / 2', 'eps / 2',
        lambda eps, k: (1 - eps / 2, eps / 2), lambda neg, k: 2 * neg, False,
        'Keras BinaryCrossentropy, smooth_BCE of YOLOv5'),
    'multi_label': Variant(
        '1 - eps', 'eps',
        lambda eps, k: (1 - eps, eps), lambda neg, k: neg, False,
        'mmpretrain LabelSmoothLoss, mode "multi_label"'),
    'classy_vision': Variant(
        '(1 + eps / K) / (1 + eps)', '(eps / K) / (1 + eps)',
        lambda eps, k: ((1 + eps / k) / (1 + eps), eps / k / (1 + eps)),
        lambda neg, k: neg * k / (1 - neg * k) if neg * k < 1 else math.inf, True,
        'mmpretrain LabelSmoothLoss, mode "classy_vision"'),
    'gluoncv': Variant(
        '1 - min(1/K, 1/40)', 'min(1/K, 1/40)',
        lambda eps, k: (1 - _gluoncv_width(k), _gluoncv_width(k)), lambda neg, k: neg, False,
        'GluonCV and PaddleDetection YOLOv3; eps is ignored'),
}


def default_variant(use_sigmoid: bool) -> str:
    """The papers' variant: BoF's for sigmoid heads, BoT's for softmax heads."""
    return 'szegedy' if use_sigmoid else 'he'


def check_smoothing(variant: str, eps: float, num_classes: int | None = None) -> None:
    """Refuses what no variant can mean.

    Args:
        variant: A key of `VARIANTS`.
        eps: From 0 (hard labels) to below 1.
        num_classes: K, at least 2: with one class there is nothing to spread a label over.

    Raises:
        ValueError: If an argument breaks its rule.
    """
    if variant not in VARIANTS:
        raise ValueError(f'variant must be one of {sorted(VARIANTS)}, got {variant!r}')
    if not 0 <= eps < 1:
        raise ValueError(f'eps must be at least 0 and below 1, got {eps!r}')
    if num_classes is not None and num_classes < 2:
        raise ValueError(f'num_classes must be at least 2 to be smoothed, got {num_classes!r}')


def targets(variant: str, eps: float, num_classes: int) -> tuple[float, float]:
    """The two target values of a variant.

    Args:
        variant: A key of `VARIANTS`.
        eps: Smoothing in that variant's own sense; 0 gives ``(1, 0)``, except for ``gluoncv``,
            whose width depends on K alone.
        num_classes: K, the number of outputs that the label is spread over. A softmax with a
            background output counts it.

    Returns:
        ``(pos, neg)``: the target of the true class, and that of each other class.

    Raises:
        ValueError: If an argument breaks the rules of `check_smoothing`.
    """
    check_smoothing(variant, eps, num_classes)
    return VARIANTS[variant].pair(eps, num_classes)


def convert_eps(eps: float, num_classes: int, source: str, target: str) -> float:
    """The ``eps`` with which one variant gives the very targets of another.

    Args:
        eps: Smoothing in the sense of ``source``.
        num_classes: K.
        source: The variant that ``eps`` belongs to.
        target: The variant to express it in.

    Returns:
        ``eps`` in the sense of ``target``. Unchanged where both are the same.

    Raises:
        ValueError: If no ``eps`` of ``target`` below 1 gives both values.
    """
    pos, neg = targets(source, eps, num_classes)
    check_smoothing(target, eps)
    if source == target:
        return eps
    converted = VARIANTS[target].eps_from_neg(neg, num_classes)
    wanted = f'{source!r} (true {pos:.10g}, others {neg:.10g}, K={num_classes})'
    if not 0 <= converted < 1:
        raise ValueError(f'{target!r} would need eps >= 1 to give the targets of {wanted}')
    got_pos, got_neg = targets(target, converted, num_classes)
    if not (math.isclose(got_pos, pos, rel_tol=0, abs_tol=1e-12)
            and math.isclose(got_neg, neg, rel_tol=0, abs_tol=1e-12)):
        raise ValueError(
            f'no eps of {target!r} gives the targets of {wanted}: '
            f'with others {got_neg:.10g} its true target is {got_pos:.10g}')
    return converted


def one_hot_labels(labels: Tensor, num_classes: int, ignore_index: int = -100) -> Tensor:
    """One-hot rows, on the labels' device.

    Args:
        labels: Integers of any shape S.
        num_classes: K.
        ignore_index: The label of rows to leave empty.

    Returns:
        A bool tensor of shape (*S, K). Rows whose label is not in [0, K) hold no True: in mmdet,
        label K of a sigmoid head is background.
    """
    classes = torch.arange(num_classes, device=labels.device)
    hot = labels.unsqueeze(-1) == classes
    return hot & (labels != ignore_index).unsqueeze(-1)


def one_hot_classes(labels: Tensor, num_classes: int, ignore_index: int = -100) -> Tensor:
    """As `one_hot_labels`, for a softmax, where every label must be a class.

    Raises:
        RuntimeError: From torch (on CUDA: a device assertion), if a label is neither in [0, K) nor
            ``ignore_index``.
    """
    kept = labels != ignore_index
    hot = F.one_hot(labels.masked_fill(~kept, 0), num_classes).bool()
    return hot & kept.unsqueeze(-1)


def smooth_one_hot(one_hot: Tensor, eps: float = 0.1, variant: str = 'szegedy') -> Tensor:
    """Spreads the label of every row that holds one.

    A row of zeros (background of a sigmoid head, ignored) stays as it is: smoothing spreads an
    object's label over the classes, and a dense head has about 100,000 background rows, each of
    which would be taught ``neg`` of every class. Values between 0 and 1 (mixed labels) are mapped
    linearly.

    Args:
        one_hot: Shape (..., K), bool, integer or floating, in [0, 1].
        eps: Smoothing in the variant's sense.
        variant: A key of `VARIANTS`.

    Returns:
        A new tensor of the same shape, float32 (float64 for float64 input).

    Raises:
        ValueError: If K is 1, or an argument breaks the rules of `check_smoothing`.
    """
    pos, neg = targets(variant, eps, one_hot.shape[-1])
    dtype = torch.float64 if one_hot.dtype == torch.float64 else torch.float32
    holds = (one_hot > 0).any(dim=-1, keepdim=True)
    return one_hot.to(dtype) * (pos - neg) + holds.to(dtype) * neg


def soft_cross_entropy(logits: Tensor, soft: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """``-sum_c w_c q_c log p_c``, without reduction.

    Args:
        logits: Shape (..., K).
        soft: Targets q of the same shape; a row of zeros costs nothing.
        class_weight: w, shape (K,).

    Returns:
        Shape (...).
    """
    log_p = F.log_softmax(logits, dim=-1)
    weighted = soft if class_weight is None else soft * class_weight
    return -(weighted * log_p).sum(dim=-1)


def smoothed_softmax_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    eps: float = 0.1,
    variant: str = 'he',
    class_weight: Sequence[float] | Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Softmax cross entropy with smoothed labels, without reduction.

    Args:
        logits: Shape (N, K).
        labels: Shape (N,), integers in [0, K), or ``ignore_index``.
        eps: Smoothing in the variant's sense.
        variant: One whose targets sum to 1: ``he``, ``szegedy`` or ``classy_vision``.
        class_weight: Shape (K,). Weights each class's term, not only the true one's, as torch does.
        ignore_index: Label of rows whose loss is 0.

    Returns:
        Shape (N,).

    Raises:
        ValueError: If the variant's targets do not sum to 1, or an argument breaks the rules of
            `check_smoothing`.
    """
    check_smoothing(variant, eps, logits.shape[-1])
    if not VARIANTS[variant].sums_to_one:
        raise ValueError(f'variant must have targets that sum to 1 for a softmax, got {variant!r}')
    if class_weight is not None:
        class_weight = torch.as_tensor(class_weight, dtype=logits.dtype, device=logits.device)
    one_hot = one_hot_classes(labels, logits.shape[-1], ignore_index)
    return soft_cross_entropy(logits, smooth_one_hot(one_hot, eps, variant), class_weight)
