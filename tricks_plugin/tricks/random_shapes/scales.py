"""Changing the scale at which a config trains, and what allows one size only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...mm.canvas import Canvas
from ...mm.config_edit import get, type_name, walk

__all__ = ['anchor_obstacle', 'replace_resize']


def replace_resize(canvas: Canvas, size: tuple[int, int], scope: str) -> None:
    """Makes the deciding step resize to one size, in place; its other settings stay."""
    step = canvas.step
    if step is None:
        raise ValueError(f'{canvas.reason} decides about the canvas, which no resize can change')
    if not canvas.varies:
        step['scale'] = size
        return
    kind = step.get('resize_type') or ('mmdet.Resize' if scope == 'mmdet' else 'Resize')
    drop = ('type', 'scale', 'scales', 'ratio_range', 'resize_type')
    rest = {key: value for key, value in step.items() if key not in drop}
    step.clear()
    step.update(type=kind, scale=size, **rest)


def anchor_obstacle(model: dict[str, Any]) -> str:
    """Why a model's anchors allow one input size only, or an empty string."""
    for path, node in _generators(model):
        if type_name(node) == 'SSDAnchorGenerator':
            return f'{path} is SSDAnchorGenerator, whose anchors are laid out for one input size'
        for stride in _flat(node.get('strides')):
            if stride <= 0 or int(stride) != stride or int(stride) & (int(stride) - 1):
                return (f'{path}.strides holds {stride:g}, no power of two: its anchors are laid '
                        'out for one input size')
    return ''


def _generators(model: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, node in walk(model, 'model'):
        for key in ('anchor_generator', 'prior_generator'):
            item = get(node, key)
            if isinstance(item, dict):
                yield f'{path}.{key}', item


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value
