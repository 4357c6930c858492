"""The learning rate of a linear warm-up and a cosine, as a function of the step alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

__all__ = ['fitted_warmup', 'warmup_cosine', 'warmup_cosine_factor']


def warmup_cosine(
    step: float, base_lr: float, warmup: float, total: float, eta_min: float = 0.0,
    flat_fraction: float = 0.0,
) -> float:
    """The LR of one step: linear from 0 to the base LR, then a half cosine to ``eta_min``.

    With a flat fraction the LR first stays at the base LR for that share of the steps after the
    warm-up, and the cosine takes the rest.

    Step 0 gives exactly 0 (exactly ``base_lr`` where there is no warm-up), step ``warmup`` gives
    exactly ``base_lr`` from both sides, step ``total`` and every later one exactly ``eta_min``.

    Args:
        step: Steps done so far, in the unit of ``warmup`` and ``total`` (iterations, mostly).
        base_lr: The LR at the end of the warm-up.
        warmup: Length of the warm-up; 0 for none.
        total: Length of the run, the warm-up included.
        eta_min: The LR at the end of the run.
        flat_fraction: The flat share of what follows the warm-up, in [0, 1): 0 for none.

    Raises:
        ValueError: If ``step`` or ``warmup`` is negative, ``warmup`` not below ``total``,
            ``eta_min`` outside of [0, ``base_lr``], or ``flat_fraction`` outside of [0, 1).

    Example:
        >>> [round(warmup_cosine(step, 0.4, warmup=2, total=6), 4) for step in range(7)]
        [0.0, 0.2, 0.4, 0.3414, 0.2, 0.0586, 0.0]
        >>> [round(warmup_cosine(step, 0.4, 2, 6, flat_fraction=0.5), 4) for step in range(7)]
        [0.0, 0.2, 0.4, 0.4, 0.4, 0.2, 0.0]

    Source: BoT (arXiv 1812.01187) section 5.1, where the cosine's T leaves the warm-up out;
    warm-up from 0: section 3.1 and Goyal et al. (arXiv 1706.02677) section 2.2, which starts at
    the LR of a single worker instead. Flat, then cosine: Lyu et al. (arXiv 2212.07784), in
    whose configs the cosine takes the second half of the run.
    """
    if step < 0:
        raise ValueError(f'step must be >= 0, got {step!r}')
    check_schedule(warmup, total)
    check_flat(flat_fraction)
    check_eta_min(eta_min, base_lr)
    if step < warmup:
        return base_lr * (step / warmup)
    if step >= total:
        return eta_min
    flat = flat_fraction * (total - warmup)
    share = max(step - warmup - flat, 0.0) / (total - warmup - flat)
    # eta_min + 0.5 (base_lr - eta_min) (1 + cos), turned round: share 0 gives base_lr exactly.
    return base_lr - 0.5 * (base_lr - eta_min) * (1.0 - math.cos(math.pi * share))


def warmup_cosine_factor(
    warmup: float, total: float, eta_min_share: float = 0.0, flat_fraction: float = 0.0,
) -> Callable[[float], float]:
    """`warmup_cosine` as a share of the base LR, for `torch.optim.lr_scheduler.LambdaLR`.

    The scheduler's ``step()`` belongs after every update, not after every epoch. The first update
    of a warm-up has the LR 0.

    Args:
        warmup: Length of the warm-up in updates; 0 for none.
        total: Length of the run in updates, the warm-up included.
        eta_min_share: What is left of the base LR at the end, in [0, 1].
        flat_fraction: See `warmup_cosine`.

    Returns:
        ``step -> factor``; it can be pickled.

    Raises:
        ValueError: If ``warmup`` is negative or not below ``total``, ``eta_min_share`` outside of
            [0, 1], or ``flat_fraction`` outside of [0, 1).

    Example:
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.4)
        >>> factor = warmup_cosine_factor(warmup=2, total=6)
        >>> scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(round(optimizer.param_groups[0]['lr'], 4))
        ...     optimizer.step()
        ...     scheduler.step()
        >>> rates
        [0.0, 0.2, 0.4, 0.3414, 0.2, 0.0586]
    """
    check_schedule(warmup, total)
    check_flat(flat_fraction)
    if not 0 <= eta_min_share <= 1:
        raise ValueError(f'eta_min_share must be in [0, 1], got {eta_min_share!r}')
    return functools.partial(warmup_cosine, base_lr=1.0, warmup=warmup, total=total,
                             eta_min=eta_min_share, flat_fraction=flat_fraction)


def fitted_warmup(warmup: float, total: float) -> float:
    """A warm-up's length, made to fit a run that it was not written for.

    A warm-up that fills more than half of the run belongs to a longer run; a tenth of this one
    takes its place. Shorter ones stay as they are.

    Args:
        warmup: Length of the warm-up.
        total: Length of the run, in the same unit.

    Example:
        >>> fitted_warmup(500, total=90000), fitted_warmup(500, total=600)
        (500, 60.0)
    """
    return total / 10 if 2 * warmup > total else warmup


def check_schedule(warmup: float, total: float) -> None:
    """Raises ValueError unless 0 <= ``warmup`` < ``total``."""
    if warmup < 0:
        raise ValueError(f'warmup must be >= 0, got {warmup!r}')
    if warmup >= total:
        raise ValueError(
            f'warmup must be shorter than the run, got a warm-up of {warmup!r} for {total!r} steps'
        )


def check_flat(flat_fraction: float) -> None:
    """Raises ValueError unless 0 <= ``flat_fraction`` < 1."""
    if not 0 <= flat_fraction < 1:
        raise ValueError(f'flat_fraction must be in [0, 1), so that something is left for the '
                         f'cosine, got {flat_fraction!r}')


def check_eta_min(eta_min: float, base_lr: float) -> None:
    """Raises ValueError unless 0 <= ``eta_min`` <= ``base_lr``."""
    if not 0 <= eta_min <= base_lr:
        raise ValueError(
            f'eta_min must be between 0 and the base LR, got {eta_min!r} for a base LR of '
            f'{base_lr!r}'
        )
