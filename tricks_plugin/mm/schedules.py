"""Reading the learning-rate schedules of a plain config."""

from __future__ import annotations

from typing import Any

from .config_edit import is_a, type_name

__all__ = ['is_lr', 'is_warmup', 'scheduler_lists']

_RAMPS = ('LinearLR', 'LinearParamScheduler', 'QuadraticWarmupLR', 'QuadraticWarmupParamScheduler')


def scheduler_lists(node: Any) -> dict[str, list[Any]] | None:
    """The schedulers per optimizer name ('' for all), or None if the form is not known."""
    if node is None:
        return {'': []}
    if isinstance(node, dict) and node and 'type' not in node:
        lists = {name: _as_list(item) for name, item in node.items()}
        return None if None in lists.values() else lists  # type: ignore[return-value]
    items = _as_list(node)
    return None if items is None else {'': items}


def _as_list(node: Any) -> list[Any] | None:
    items = list(node) if isinstance(node, (list, tuple)) else [] if node == {} else [node]
    return items if all(isinstance(item, dict) and 'type' in item for item in items) else None


def is_lr(node: dict[str, Any], scope: str) -> bool:
    """Whether a scheduler sets the learning rate."""
    return (node.get('param_name') == 'lr' or type_name(node).endswith('LR')
            or is_a(node, 'LRSchedulerMixin', scope=scope))


def is_warmup(node: dict[str, Any], scope: str) -> bool:
    """Whether an LR scheduler ramps up from the first step on."""
    if not is_lr(node, scope) or not is_a(node, *_RAMPS, scope=scope) or node.get('begin', 0):
        return False
    start, end = node.get('start_factor', 1 / 3), node.get('end_factor', 1.0)
    numbers = all(isinstance(value, (int, float)) for value in (start, end))
    return numbers and start < end
