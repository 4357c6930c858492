"""How likely batches look unmixed though mixing works."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .scores import LEAST

__all__ = ['partners_alike', 'shown_share']

_AREA = 0.01  # of an image: a box below it may lie off the edge, or be rounded to nothing
_GIVEN = 0.6  # of timm's cutmix_minmax, whose areas follow no Beta distribution
_HASH, _RANGE = 2654435761, 2 ** 31  # Knuth's multiplier; sums of products stay in an int64


def shown_share(alpha: float, cutmix: float | str = 0.0, prob: float = 1.0) -> float:
    """The least probability that a mixed batch of unlike partners shows its mixture in targets.

    The share lam of Beta(alpha, alpha) can lie so close to 0 or 1 that its targets look unmixed.
    Below a small x the distribution holds ``x**alpha / (alpha * B(alpha, alpha))``, up to a
    relative error of x.

    Args:
        alpha: Of mixup, 0 for none.
        cutmix: The alpha of cutmix, 0 for none, or ``'minmax'``.
        prob: The probability that a batch is mixed. With 0 nothing is, which no plan promises, so
            it counts as 1.

    Returns:
        In [0, 1]; of mixup and cutmix the smaller.
    """
    kinds = [_inside(alpha, LEAST)] if alpha > 0 else []
    if isinstance(cutmix, str):
        kinds.append(_GIVEN)
    elif cutmix > 0:
        kinds.append(_inside(cutmix, _AREA))
    return min(kinds, default=1.0) * (min(prob, 1.0) or 1.0)


def _inside(alpha: float, least: float) -> float:
    """The probability that a Beta(alpha, alpha) number is `least` away from 0 and 1."""
    log_beta = 2 * math.lgamma(alpha) - math.lgamma(2 * alpha)
    return max(1 - 2 * math.exp(alpha * math.log(least) - math.log(alpha) - log_beta), 0.0)


def partners_alike(targets: Tensor) -> Tensor:
    """The probability that no image of an unmixed batch would meet one of other classes.

    mmpretrain mixes a batch with a random permutation of it: of B images with n_k of each kind,
    ``prod(n_k!) / B!`` of the permutations join like ones alone. timm mixes it with its reverse,
    which does so or not. The larger of both is returned, whatever the trainer, so that timm's
    mode 'half', whose partners the targets do not tell, is covered where its classes are as
    frequent as in the batch.

    Args:
        targets: Shape (B,), class numbers, or (B, K), shares of the classes, unmixed.

    Returns:
        A scalar on the targets' device, which is not waited for.
    """
    codes = targets
    if targets.dim() == 2:
        shares = targets.float()
        classes = torch.arange(1, targets.shape[1] + 1, device=targets.device)
        codes = ((shares > shares.mean(1, keepdim=True)) * (classes * _HASH % _RANGE)).sum(1)
    ranks = (codes[:, None] == codes).tril().sum(1)  # 1 to n_k, among those of the same kind
    permuted = ranks.float().log().sum() - math.lgamma(len(codes) + 1)
    return torch.maximum(permuted.exp().clamp(max=1.0), (codes == codes.flip(0)).all().float())
