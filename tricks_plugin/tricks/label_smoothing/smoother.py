"""The module that turns hard targets into smoothed ones, inside a loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .functional import check_smoothing, smooth_one_hot

__all__ = ['TargetSmoother']


class TargetSmoother(nn.Module):
    """`smooth_one_hot` as a module without parameters or buffers.

    A module, so that a forward hook sees the very targets that a loss works with.

    Args:
        eps: Smoothing in the variant's sense.
        variant: A key of `VARIANTS`.

    Raises:
        ValueError: If an argument breaks the rules of `check_smoothing`.
    """

    def __init__(self, eps: float, variant: str) -> None:
        super().__init__()
        check_smoothing(variant, eps)
        self.eps = eps
        self.variant = variant

    def forward(self, one_hot: Tensor) -> Tensor:
        """Smooths one-hot rows of shape (..., K); see `smooth_one_hot`.

        With K of 1, where there is nothing to spread a label over, it stays as it is.
        """
        if one_hot.shape[-1] < 2:
            return one_hot.to(torch.promote_types(one_hot.dtype, torch.float32))
        return smooth_one_hot(one_hot, self.eps, self.variant)

    def extra_repr(self) -> str:
        """Shown when the model is printed."""
        return f'eps={self.eps}, variant={self.variant!r}'
