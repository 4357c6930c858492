"""How long an average of weights should remember."""

from __future__ import annotations

__all__ = ['ema_momentum']

_LARGEST = 0.5


def ema_momentum(iterations: int, horizon: float) -> float:
    """The momentum of an exponential moving average whose memory is a share of the run.

    ``average += momentum * (weights - average)`` at every iteration remembers the last
    ``1 / momentum`` iterations, weighted by age.

    Args:
        iterations: Length of the run.
        horizon: The memory as a share of the run, in (0, 1).

    Returns:
        In (0, 0.5]: the share of the new weights. 0 would never move, 1 would be no average.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if iterations < 1:
        raise ValueError(f'iterations must be >= 1, got {iterations!r}')
    if not 0 < horizon < 1:
        raise ValueError(f'horizon must be in (0, 1), got {horizon!r}')
    return min(1 / (horizon * iterations), _LARGEST)
