"""Mixup of a batch of tensors, for classifiers, and the draw of its share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['draw_lam', 'mixup_batch']


def draw_lam(rng: Any, alpha: float) -> float:
    """Draws the share of the first image, lam ~ Beta(alpha, alpha).

    Args:
        rng: What draws: ``numpy.random``, a ``RandomState``, a ``Generator``, or a
            `torch.Generator` of any device. The latter is asked for one integer, with which a
            ``RandomState`` draws, so that the same generator gives the same lam everywhere.
        alpha: Both parameters of the distribution. The larger, the nearer lam lies to one half;
            1 is the uniform distribution. The detection paper takes 1.5.

    Returns:
        A number in [0, 1]. 1 means the first image alone.

    Raises:
        TypeError: If ``rng`` is none of these.
        ValueError: If alpha is not above 0, or infinite.

    Example:
        >>> round(draw_lam(np.random.RandomState(0), alpha=1.5), 4)
        0.722
        >>> generator = torch.Generator().manual_seed(0)
        >>> 0 <= draw_lam(generator, alpha=1.5) <= 1
        True

    Source: arXiv 1902.04103 section 3.1, Table 4.
    """
    if not alpha > 0:
        raise ValueError(f'alpha must be > 0, got {alpha!r}')
    if alpha == math.inf:
        raise ValueError(f'alpha must be finite, got {alpha!r}')
    if isinstance(rng, torch.Generator):
        seed = torch.randint(2 ** 32, (1,), generator=rng, device=rng.device, dtype=torch.int64)
        rng = np.random.RandomState(int(seed))
    if not callable(getattr(rng, 'beta', None)):
        raise TypeError('rng must be numpy.random, a RandomState, a Generator or a '
                        f'torch.Generator, got {rng!r}')
    return float(rng.beta(alpha, alpha))


def mixup_batch(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    alpha: float,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Mixes each image of a batch with another one, and their labels alike.

    One lam ~ Beta(alpha, alpha) is drawn for the batch, and a permutation of it:
    ``lam * images + (1 - lam) * images[permutation]``, and the same with the one-hot labels. An
    image may meet itself.

    Args:
        images: Shape (B, ...), floating point, on any device. Not changed.
        labels: Integers of shape (B,) in [0, K), or floating soft labels of shape (B, K).
        num_classes: K.
        alpha: Of the Beta distribution; BoT takes 0.2. 0 mixes nothing and draws nothing.
        generator: What draws, of any device; torch's default one for None. The same state gives
            the same mix.

    Returns:
        The mixed images, in their dtype (the very same tensor for alpha 0), and soft labels of
        shape (B, K), float32 (soft labels keep their dtype), whose rows sum to 1 if those of the
        given labels do.

    Raises:
        TypeError: If the images are no floating point tensor.
        ValueError: If alpha is negative, the labels do not fit the images and ``num_classes``, or
            an integer label on the CPU is out of range (elsewhere torch itself complains).

    Example:
        >>> images, labels = torch.tensor([[0.0], [8.0]]), torch.tensor([0, 2])
        >>> generator = torch.Generator().manual_seed(0)
        >>> mixed, soft = mixup_batch(images, labels, 3, alpha=0.2, generator=generator)
        >>> torch.allclose(mixed[:, 0] / 8, soft[:, 2])
        True
        >>> mixup_batch(images, labels, 3, alpha=0)[1].tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    Source: Zhang et al. (arXiv 1710.09412) section 2; BoT (arXiv 1812.01187) section 5.4.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f'images must be a floating point tensor to be mixed, got {kind}: convert '
                        'and normalise them first')
    if not alpha >= 0:
        raise ValueError(f'alpha must be >= 0, got {alpha!r}')
    soft = _soft_labels(labels, len(images), num_classes)
    if alpha == 0:
        return images, soft
    generator = torch.default_generator if generator is None else generator
    lam = draw_lam(generator, alpha)
    order = torch.randperm(len(images), generator=generator, device=generator.device)
    return _mix(images, order, lam), _mix(soft, order, lam)


def _mix(values: Tensor, order: Tensor, lam: float) -> Tensor:
    return values * lam + values[order.to(values.device)] * (1.0 - lam)


def _soft_labels(labels: Tensor, batch: int, num_classes: int) -> Tensor:
    if labels.is_floating_point() and labels.shape == (batch, num_classes):
        return labels
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.shape != (batch,):
        raise ValueError(f'labels must be integers of shape {(batch,)} or soft labels of shape '
                         f'{(batch, num_classes)}, got {labels.dtype} of shape '
                         f'{tuple(labels.shape)}')
    if labels.device.type == 'cpu' and batch:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= num_classes:
            raise ValueError(f'labels must be in [0, {num_classes}), got {low} to {high}')
    return F.one_hot(labels.long(), num_classes).float()
