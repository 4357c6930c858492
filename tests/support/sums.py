"""Tolerances of float32 sums that hold on any processor, whatever order it adds in.

A sum of n terms, added in any order, is off by at most (n - 1) u S: u is half the spacing of
numbers at 1, S the sum of the terms' magnitudes (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 4.2). Each term is off by some u of its own, one per operation.
"""

from __future__ import annotations

import torch

__all__ = ['tolerance']


def tolerance(terms: int, size: float, operations: int = 8,
              dtype: torch.dtype = torch.float32) -> float:
    """How far two evaluations of one sum may lie apart.

    Args:
        terms: How many numbers are added.
        size: Their magnitudes' sum, at most: number of terms times the largest will do.
        operations: Roundings behind each of the terms.
        dtype: Of the coarser evaluation.
    """
    return 2 * (terms + operations) * torch.finfo(dtype).eps / 2 * size
