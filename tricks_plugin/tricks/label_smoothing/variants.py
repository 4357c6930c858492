"""The named variants of label smoothing, and conversions between them.

Every variant replaces the one-hot target of an object by two numbers: ``pos`` for its class and
``neg`` for each of the others. They differ in what their ``eps`` means.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

__all__ = ['SMOOTHING_VARIANTS', 'SmoothingVariant', 'check_smoothing', 'convert_eps',
           'default_smoothing_variant', 'smoothing_targets']


@dataclasses.dataclass(frozen=True)
class SmoothingVariant:
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


SMOOTHING_VARIANTS: dict[str, SmoothingVariant] = {
    'he': SmoothingVariant(
        '1 - eps', 'eps / (K - 1)',
        lambda eps, k: (1 - eps, eps / (k - 1)), lambda neg, k: neg * (k - 1), True,
        'He et al., arXiv 1812.01187, section 5.2'),
    'szegedy': SmoothingVariant(
        '1 - eps + eps / K', 'eps / K',
        lambda eps, k: (1 - eps + eps / k, eps / k), lambda neg, k: neg * k, True,
        'Szegedy et al., arXiv 1512.00567, section 7; Zhang et al., arXiv 1902.04103 (sigmoid); '
        'torch, timm, mmpretrain "original", the one_hot_smoother of mmdet\'s YOLOV3Head'),
    'binary': SmoothingVariant(
        '1 - eps / 2', 'eps / 2',
        lambda eps, k: (1 - eps / 2, eps / 2), lambda neg, k: 2 * neg, False,
        'Keras BinaryCrossentropy, smooth_BCE of YOLOv5'),
    'multi_label': SmoothingVariant(
        '1 - eps', 'eps',
        lambda eps, k: (1 - eps, eps), lambda neg, k: neg, False,
        'mmpretrain LabelSmoothLoss, mode "multi_label"'),
    'classy_vision': SmoothingVariant(
        '(1 + eps / K) / (1 + eps)', '(eps / K) / (1 + eps)',
        lambda eps, k: ((1 + eps / k) / (1 + eps), eps / k / (1 + eps)),
        lambda neg, k: neg * k / (1 - neg * k) if neg * k < 1 else math.inf, True,
        'mmpretrain LabelSmoothLoss, mode "classy_vision"'),
    'gluoncv': SmoothingVariant(
        '1 - min(1/K, 1/40)', 'min(1/K, 1/40)',
        lambda eps, k: (1 - _gluoncv_width(k), _gluoncv_width(k)), lambda neg, k: neg, False,
        'GluonCV and PaddleDetection YOLOv3; eps is ignored'),
}


def default_smoothing_variant(use_sigmoid: bool) -> str:
    """The papers' variant: BoF's for sigmoid heads, BoT's for softmax heads.

    The functions of this module take BoT's by default, whatever the head.

    Example:
        >>> [default_smoothing_variant(use_sigmoid) for use_sigmoid in (True, False)]
        ['szegedy', 'he']
    """
    return 'szegedy' if use_sigmoid else 'he'


def check_smoothing(variant: str, eps: float, num_classes: int | None = None) -> None:
    """Refuses what no variant can mean.

    Args:
        variant: A key of `SMOOTHING_VARIANTS`.
        eps: From 0 (hard labels) to below 1.
        num_classes: K, at least 2: with one class there is nothing to spread a label over.

    Raises:
        ValueError: If an argument breaks its rule.

    Example:
        >>> check_smoothing('he', 0.1, num_classes=10)
        >>> check_smoothing('he', 1.5)
        Traceback (most recent call last):
        ValueError: eps must be at least 0 and below 1, got 1.5
    """
    if variant not in SMOOTHING_VARIANTS:
        raise ValueError(f'variant must be one of {sorted(SMOOTHING_VARIANTS)}, got {variant!r}')
    if not 0 <= eps < 1:
        raise ValueError(f'eps must be at least 0 and below 1, got {eps!r}')
    if num_classes is not None and num_classes < 2:
        raise ValueError(f'num_classes must be at least 2 to be smoothed, got {num_classes!r}')


def smoothing_targets(variant: str, eps: float, num_classes: int) -> tuple[float, float]:
    """The two target values of a variant.

    Args:
        variant: A key of `SMOOTHING_VARIANTS`.
        eps: Smoothing in that variant's own sense; 0 gives ``(1, 0)``, except for ``gluoncv``,
            whose width depends on K alone.
        num_classes: K, the number of outputs that the label is spread over. A softmax with a
            background output counts it.

    Returns:
        ``(pos, neg)``: the target of the true class, and that of each other class.

    Raises:
        ValueError: If an argument breaks the rules of `check_smoothing`.

    Example:
        >>> smoothing_targets('he', 0.1, 5)
        (0.9, 0.025)
    """
    check_smoothing(variant, eps, num_classes)
    return SMOOTHING_VARIANTS[variant].pair(eps, num_classes)


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

    Example:
        >>> round(convert_eps(0.1, 5, source='he', target='szegedy'), 9)
        0.125
    """
    pos, neg = smoothing_targets(source, eps, num_classes)
    check_smoothing(target, eps)
    if source == target:
        return eps
    converted = SMOOTHING_VARIANTS[target].eps_from_neg(neg, num_classes)
    wanted = f'{source!r} (true {pos:.10g}, others {neg:.10g}, K={num_classes})'
    if not 0 <= converted < 1:
        raise ValueError(f'{target!r} would need eps >= 1 to give the targets of {wanted}')
    got_pos, got_neg = smoothing_targets(target, converted, num_classes)
    if not (math.isclose(got_pos, pos, rel_tol=0, abs_tol=1e-12)
            and math.isclose(got_neg, neg, rel_tol=0, abs_tol=1e-12)):
        raise ValueError(
            f'no eps of {target!r} gives the targets of {wanted}: '
            f'with others {got_neg:.10g} its true target is {got_pos:.10g}')
    return converted
