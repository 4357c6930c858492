"""The linear scaling rule."""

from __future__ import annotations

__all__ = ['effective_batch_size', 'linear_scaled_lr']


def effective_batch_size(batch_size: int, world_size: int = 1, accumulation: int = 1) -> int:
    """How many images one update of the weights averages over.

    Args:
        batch_size: Images per process and iteration.
        world_size: Number of processes.
        accumulation: Iterations whose gradients are averaged into one update.

    Raises:
        ValueError: If any of them is below 1.

    Example:
        >>> effective_batch_size(16, world_size=8, accumulation=2)
        256
    """
    sizes = {'batch_size': batch_size, 'world_size': world_size, 'accumulation': accumulation}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f'{name} must be >= 1, got {value!r}')
    return batch_size * world_size * accumulation


def linear_scaled_lr(lr: float, effective_batch: int, base_batch: int) -> float:
    """The LR for one batch size, from the LR that fits another: ``lr * effective / base``.

    Args:
        lr: The LR that was chosen for ``base_batch``.
        effective_batch: Images per update now, see `effective_batch_size`.
        base_batch: Images per update that ``lr`` was chosen for.

    Raises:
        ValueError: If a batch is below 1, or ``lr`` negative.

    Example:
        >>> linear_scaled_lr(0.1, effective_batch=1024, base_batch=256)
        0.4

    Source: Goyal et al. (arXiv 1706.02677) section 2.1; BoT (arXiv 1812.01187) section 3.1. Both
    derive it for SGD.
    """
    if lr < 0:
        raise ValueError(f'lr must be >= 0, got {lr!r}')
    for name, value in {'effective_batch': effective_batch, 'base_batch': base_batch}.items():
        if value < 1:
            raise ValueError(f'{name} must be >= 1, got {value!r}')
    return lr * effective_batch / base_batch
