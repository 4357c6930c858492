"""Factors per row or element: multiplied in, picked and put in place without a device's wait."""

from __future__ import annotations

import torch

__all__ = ['select', 'shaped', 'spread', 'times']


def shaped(factor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A factor per element as a view that multiplies all that a tensor has for the element.

    Args:
        factor: Of the tensor's first dimensions, ``(n,)`` for one per row.
        like: ``(n, ...)``.

    Returns:
        ``(n, 1, ...)``, with the dimensions of ``like``.
    """
    return factor.reshape(factor.shape + (1,) * (like.dim() - factor.dim()))


def times(weight: torch.Tensor | None, factor: torch.Tensor) -> torch.Tensor:
    """A loss's element weight times a factor per element.

    Args:
        weight: ``(n,)`` or ``(n, ...)``, or None for 1.
        factor: ``(n,)``, or more of the weight's first dimensions; of any floating dtype.

    Returns:
        Of the weight's shape and dtype; the factor itself where the weight is None.
    """
    return factor if weight is None else weight * shaped(factor, weight).to(weight.dtype)


def select(values: torch.Tensor, mask: torch.Tensor, count: int | None = None) -> torch.Tensor:
    """``values[mask]``, in order, without waiting for the device to count the mask.

    Args:
        values: ``(n,)``.
        mask: Bool ``(n,)``.
        count: How many elements of the mask are true.

    Returns:
        ``(count,)``; without a count ``(n,)``, the selected ones followed by the others.
    """
    # A stable sort puts the selected ones first; indexing with a mask would count them.
    return values[torch.argsort((~mask).to(torch.uint8), stable=True)[:count]]


def spread(mask: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Factors at the places of a mask and 1 elsewhere, without waiting for the device.

    Args:
        mask: Bool, of any shape.
        factors: One for each true element of the mask, in order.

    Returns:
        Of the mask's shape and the factors' dtype.
    """
    return factors.new_ones(mask.shape).masked_scatter_(mask, factors)
