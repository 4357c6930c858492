"""The arithmetic of a training that waits for its data: times in, shares and counts out."""

from __future__ import annotations

import math

__all__ = ['slowest_step', 'waiting_share', 'workers_needed']


def workers_needed(sample: float, batch_size: int, step: float) -> int:
    """Worker processes that make a batch in the time of a step.

    Args:
        sample: Seconds of one worker for a sample.
        batch_size: Samples in a batch of one training process.
        step: Seconds of an iteration without waiting, > 0.

    Examples:
        >>> workers_needed(0.030, 16, 0.200)  # 480 ms of work every 200 ms
        3
    """
    # Three steps of 0.1 s hold 0.3 s of work, whatever the rounding of their quotient.
    return max(1, math.ceil(round(batch_size * sample / step, 9)))


def slowest_step(sample: float, batch_size: int, workers: int) -> float:
    """Seconds in which the workers make a batch, together; 0 workers are the training itself."""
    return batch_size * sample / max(workers, 1)


def waiting_share(sample: float, batch_size: int, step: float, workers: int) -> float:
    """The share of the time that the training waits, in [0, 1).

    Workers make batches while the training works; without workers the training makes them itself.

    Args:
        sample: Seconds of one worker for a sample.
        batch_size: Samples in a batch of one training process.
        step: Seconds of an iteration without waiting, > 0.
        workers: Worker processes of one training process.

    Examples:
        >>> waiting_share(0.030, 16, 0.200, 2)  # 240 ms for a batch, 200 ms for a step
        0.1666...
        >>> waiting_share(0.030, 16, 0.120, 0)
        0.8
        >>> waiting_share(0.030, 16, 0.200, 3)
        0.0
    """
    batch = slowest_step(sample, batch_size, workers)
    iteration = max(step, batch) if workers else step + batch
    return 1 - step / iteration
