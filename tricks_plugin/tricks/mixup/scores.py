"""Reading mixtures from the targets that the losses of mmpretrain's classifiers get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ['LEAST', 'of_scores', 'watch_scores']

LEAST = 1e-6  # of a share that float32 tells from 0 and 1


def of_scores(scores: Tensor) -> tuple[int, Tensor]:
    """Reads the targets of a batch, before any smoothing, without waiting for their device.

    A mixed row holds a share that is neither 0 nor 1, whether its images have one label or
    several. Two images of the same labels look unmixed, and so does a lam next to 0 or 1.

    Args:
        scores: Shape (B, K), shares of the classes, or (B,), class numbers, which are no mixture.

    Returns:
        The rows, and a tensor of the mixed ones' number, and of the sum, the smallest and the
        largest of their smallest shares, in [0, 0.5].
    """
    if scores.dim() != 2 or not scores.is_floating_point():
        return len(scores), torch.zeros(4, device=scores.device)
    scores = scores.float()
    smaller = torch.minimum(scores, 1 - scores)
    some = smaller > LEAST
    mixed = some.any(1)
    share = torch.where(some, smaller, torch.inf).amin(1)
    share = torch.where(mixed, share, 0)
    low = torch.where(mixed, share, 1).min()
    return len(scores), torch.stack([mixed.sum().to(share.dtype), share.sum(), low, share.max()])


def watch_scores(model: nn.Module, see: Callable[[Tensor], Any]) -> list[Any]:
    """Has a function called with the targets of each call of a classifier's losses.

    Args:
        model: A classifier of mmpretrain, whose losses are called ``loss_module``.
        see: Called with the targets as the loss gets them.

    Returns:
        Handles that take the hooks off.
    """
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled() and len(args) > 1 and isinstance(args[1], Tensor):
            see(args[1])
    return [module.register_forward_pre_hook(hook) for name, module in model.named_modules()
            if name.rpartition('.')[2] == 'loss_module']
