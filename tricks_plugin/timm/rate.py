"""The learning rate that timm derives from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ['derived_lr', 'scales_linearly']

_SQUARE_ROOT = ('ada', 'lamb')  # the optimizers that timm scales so by default


def scales_linearly(args: Mapping[str, Any]) -> bool:
    """Whether timm scales ``lr_base`` in proportion to the batch, and not to its root.

    Args:
        args: timm's settings by name.
    """
    if args.get('lr_base_scale'):
        return bool(args['lr_base_scale'] == 'linear')
    opt = str(args.get('opt') or 'sgd').lower()
    return not any(name in opt for name in _SQUARE_ROOT)


def derived_lr(args: Mapping[str, Any], processes: int) -> float | None:
    """The LR of a run before its schedule; None where the settings leave it open.

    Args:
        args: timm's settings by name; ``lr`` stands where it is given.
        processes: That train together.
    """
    if args.get('lr'):
        return float(args['lr'])
    needed = ('batch_size', 'lr_base', 'lr_base_size')
    if args.get('train_batch_sizes') or any(args.get(key) is None for key in needed):
        return None
    ratio = args['batch_size'] * processes * max(1, args.get('grad_accum_steps') or 1) \
        / args['lr_base_size']
    return float(args['lr_base'] * (ratio if scales_linearly(args) else ratio ** 0.5))
