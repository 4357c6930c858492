"""The arithmetic of batch statistics over several processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch

__all__ = ['merge_moments', 'sync_bn_traffic']


def merge_moments(
    means: torch.Tensor, squares: torch.Tensor, counts: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and variance of a whole, from those of its parts.

    With n_r values in part r, mean m_r and M_r = sum of (x - m_r)^2:

        n = sum n_r,  m = sum n_r m_r / n,  var = sum (M_r + n_r (m_r - m)^2) / n

    Nothing large is subtracted from anything large, as in E[x^2] - E[x]^2, so a mean far from 0
    costs no digits.

    Args:
        means: Shape (parts, channels); any finite value where a part is empty.
        squares: Sums of squared distances from the part's own mean, same shape.
        counts: Values per channel of each part, shape (parts,), 0 allowed.

    Returns:
        Mean and biased variance, both of shape (channels,), and the count, a scalar; mean and
        variance are 0 where every part is empty.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> means, squares = torch.tensor([[1.0], [4.0]]), torch.zeros(2, 1)
        >>> mean, variance, count = merge_moments(means, squares, torch.tensor([2, 1]))
        >>> mean.item(), variance.item(), count.item()  # of 1, 1 and 4
        (2.0, 2.0, 3)

    Source: Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances (1979), equation 2.1, for any number of parts.
    """
    if means.ndim != 2 or means.shape != squares.shape or counts.shape != means.shape[:1]:
        raise ValueError(
            'means and squares must be of shape (parts, channels) and counts of shape (parts,), '
            f'got {tuple(means.shape)}, {tuple(squares.shape)} and {tuple(counts.shape)}')
    total = counts.sum()
    divisor = total.clamp(min=1)
    weights = counts[:, None]
    mean = (weights * means).sum(0) / divisor
    variance = (squares + weights * (means - mean).square()).sum(0) / divisor
    return mean, variance, total


def sync_bn_traffic(channels: Iterable[int], processes: int) -> tuple[float, int]:
    """What synchronized BN adds to one training step: numbers sent, and collective calls.

    Per layer of C channels, forward: an all-gather of 2C + 1 numbers (mean, spread, count), of
    which each process sends (n - 1)(2C + 1) in a ring; backward: an all-reduce of 2C numbers, of
    which each process sends 2 (n - 1) / n x 2C.

    Args:
        channels: Channels of every synchronized layer.
        processes: The number n of processes.

    Returns:
        Numbers (of 4 bytes) that each process sends per step, and the collective calls per step,
        each of which waits for the slowest process.

    Raises:
        ValueError: If ``processes`` or a number of channels is below 1.

    Example:
        >>> sync_bn_traffic([64, 128], processes=2)  # 129 + 257 gathered, 128 + 256 reduced
        (770.0, 4)
    """
    layers = list(channels)
    if processes < 1 or any(size < 1 for size in layers):
        raise ValueError(f'processes and channels must be >= 1, got {processes!r} and {layers!r}')
    if processes == 1:
        return 0.0, 0
    gathered = sum((processes - 1) * (2 * size + 1) for size in layers)
    reduced = sum(2 * (processes - 1) / processes * 2 * size for size in layers)
    return gathered + reduced, 2 * len(layers)
