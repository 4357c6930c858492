"""Metrics by name: which one counts, its unit, and whether more is better."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..plan.errors import TrickError, nearest

__all__ = ['DEFAULTS', 'check_metric', 'default_metric', 'greater_is_better', 'unit_of',
           'value_of']

DEFAULTS = ('coco/bbox_mAP', 'coco/segm_mAP', 'pascal_voc/mAP', 'accuracy/top1', 'mIoU', 'PQ')
_SMALLER = ('loss', 'error', 'err', 'mae', 'mse', 'rmse', 'epe', 'fid', 'nll', 'perplexity')


def default_metric(names: Iterable[str]) -> str:
    """The metric that counts where none is asked for.

    Args:
        names: All that a validation gives.

    Raises:
        TrickError: If there is none.
    """
    known = list(names)
    if not known:
        raise TrickError('the validation gives no metric')
    for wanted in DEFAULTS:
        for name in known:
            if name == wanted or name.endswith(f'/{wanted}'):
                return name
    return next((name for name in known if greater_is_better(name)), known[0])


def check_metric(name: str, known: Iterable[str]) -> None:
    """Refuses a metric that no validation gives.

    Raises:
        TrickError: With the nearest.
    """
    names = list(known)
    if name not in names:
        raise TrickError(f'--metric: unknown metric {name!r}{nearest(name, names)}')


def greater_is_better(name: str) -> bool:
    """Whether more of the metric is better, by its name."""
    words = name.lower().replace('/', '_').split('_')
    return not any(word in _SMALLER for word in words)


def unit_of(name: str) -> tuple[str, float]:
    """``(unit, factor)``: the unit that tables print, and what a value is multiplied with.

    Args:
        name: mmengine's name of the metric, or timm's.
    """
    prefix, _, last = name.rpartition('/')
    if prefix.split('/')[0] in ('coco', 'pascal_voc', 'lvis', 'openimages', 'cityscapes'):
        if 'mAP' in last or last.startswith('AP'):
            return 'mAP points', 100.0
        return 'points', 100.0
    if last in ('top1', 'top5', 'eval_top1', 'eval_top5', 'mIoU', 'aAcc', 'mAcc', 'PQ'):
        return '%', 1.0
    return last or name, 1.0


def value_of(name: str, metrics: dict[str, Any]) -> float | None:
    """The metric in a validation's results; None where it has none.

    COCO's evaluation gives nothing at all where nothing was detected: that is 0.
    """
    if name in metrics:
        return float(metrics[name])
    return 0.0 if not metrics and name.startswith('coco/') else None
