"""The scale at which a config trains and tests, read off its plain dicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from .config_edit import Pipeline, find_hooks, get, type_name, walk

__all__ = ['BRANCHES', 'Canvas', 'PER_IMAGE', 'chains', 'find_canvas', 'innermost',
           'tested_canvas']

BRANCHES = {'RandomChoice': 'transforms', 'AutoAugment': 'policies'}
"""The steps that choose one of several pipelines, and where they hold them."""
PER_IMAGE = ('RandomResize', 'RandomChoiceResize')
"""The steps that draw a scale for each image."""


@dataclasses.dataclass
class Canvas:
    """The size that a pipeline's images have when they leave it.

    Attributes:
        size: ``(w, h)`` in px, the largest where it is drawn for each image.
        step: The Resize, RandomResize or RandomChoiceResize that alone decides about it, or None
            where crops, mosaics or paddings do.
        reason: Which other step does.
    """

    size: tuple[int, int]
    step: dict[str, Any] | None = None
    reason: str = ''

    @property
    def fits(self) -> bool:
        """Whether each image is fitted into a square: only long sides are then what is said."""
        return self.step is not None and self.size[0] == self.size[1] and \
            bool(self.step.get('keep_ratio'))

    def along(self, side: str) -> int:
        """The length of the ``'short'`` or the ``'long'`` side."""
        return min(self.size) if side == 'short' else max(self.size)

    @property
    def varies(self) -> bool:
        """Whether the deciding step draws a scale for each image."""
        return self.step is not None and type_name(self.step) in PER_IMAGE


def innermost(pipelines: Sequence[Pipeline]) -> list[Pipeline]:
    """The pipelines that load: those that are not of a wrapper around another."""
    return [pipeline for pipeline in pipelines if not any(
        other.path != pipeline.path and other.path.startswith(pipeline.path[:-len('pipeline')])
        for other in pipelines)]


def chains(cfg: dict[str, Any], pipelines: Sequence[Pipeline], scope: str) -> list[list[Any]]:
    """The steps that a training image passes through, in turn, for each way there is.

    An inner dataset's steps come before those of its wrappers; a pipeline that a hook switches
    to is a way of its own, after those of the `innermost`.
    """
    ways = []
    for pipeline in innermost(pipelines):
        outer = [other for other in pipelines if pipeline.path.startswith(
            other.path[:-len('pipeline')])]
        outer.sort(key=lambda other: -len(other.path))
        ways.append([step for other in outer for step in other.steps])
    for _, hook in find_hooks(cfg, 'PipelineSwitchHook'):
        if isinstance(hook.get('switch_pipeline'), list):
            ways.append(list(hook['switch_pipeline']))
    return ways


def tested_canvas(cfg: dict[str, Any]) -> Canvas | None:
    """The scale at which a config is validated, or else tested; None if no step names one."""
    for loader in ('val_dataloader', 'test_dataloader'):
        for _, node in walk(get(cfg, f'{loader}.dataset')):
            if isinstance(node.get('pipeline'), list):
                canvas = find_canvas(node['pipeline'])
                if canvas is not None:
                    return canvas
    return None


def find_canvas(steps: Sequence[Any]) -> Canvas | None:
    """The canvas after the last step that decides about it; None if none names a size in px."""
    canvas: Canvas | None = None
    fixed = ''
    for step in steps:
        if not isinstance(step, dict):
            continue
        name = type_name(step)
        if name == 'Switched' and isinstance(step.get('transform'), dict):
            step, name = step['transform'], type_name(step['transform'])
        if name == 'Resize' or name in PER_IMAGE:
            size = _largest(step, name)
            canvas = Canvas(size, None if fixed else step, fixed) if size else None
            continue
        size = _canvas_of(step, name, canvas)
        if size:
            fixed = fixed or name
            canvas = Canvas(size, None, name)
    return canvas


def _largest(step: dict[str, Any], name: str) -> tuple[int, int] | None:
    """The largest scale (w, h) that a resize step can draw."""
    scale = step.get('scales' if name == 'RandomChoiceResize' else 'scale')
    if name == 'Resize' or _pair(scale):
        scale = [scale]
    sizes = [size for size in map(_pair, scale if isinstance(scale, (list, tuple)) else [scale])
             if size]
    if not sizes:
        return None
    if name == 'RandomChoiceResize':
        return max(sizes, key=lambda size: (min(size), max(size)))
    width, height = (max(size[side] for size in sizes) for side in (0, 1))
    ratios: Any = step.get('ratio_range')
    factor = max(ratios) if name == 'RandomResize' and _numbers(ratios) else 1.0
    return int(width * factor), int(height * factor)


def _canvas_of(step: dict[str, Any], name: str, canvas: Canvas | None) -> tuple[int, int] | None:
    """The (w, h) after a step other than a plain resize; None if it leaves the size alone."""
    if name in ('Mosaic', 'CachedMosaic', 'Mosaic9'):  # the last is mmyolo's
        size = _pair(step.get('img_scale')) or (640, 640)
        return size[0] * 2, size[1] * 2
    if name in ('RandomAffine', 'YOLOv5RandomAffine') and canvas:
        border = step.get('border') or (0, 0)
        if _numbers(border) and len(border) == 2 and any(border):
            return (canvas.size[0] + 2 * int(border[0]), canvas.size[1] + 2 * int(border[1]))
    if name == 'RandomCrop' and str(step.get('crop_type', 'absolute')).startswith('absolute'):
        return _pair(step.get('crop_size'))
    if name == 'RandomCenterCropPad':
        return (_pair(step.get('crop_size')) or (0, 0))[::-1] if step.get('crop_size') else None
    if name == 'Pad':
        return _pair(step.get('size'))
    if name == 'FixShapeResize':
        return _pair((step.get('width'), step.get('height')))
    if name in ('FixScaleResize', 'ResizeShortestEdge'):
        return _pair(step.get('scale'))
    if name in BRANCHES:
        return _agreed(step.get(BRANCHES[name]))
    return None


def _agreed(branches: Any) -> tuple[int, int] | None:
    """The canvas of alternative pipelines, if they agree on one."""
    if not isinstance(branches, (list, tuple)):
        return None
    found = [find_canvas(branch if isinstance(branch, (list, tuple)) else [branch])
             for branch in branches]
    sizes = {canvas.size for canvas in found if canvas}
    return sizes.pop() if len(sizes) == 1 else None


def _pair(value: Any) -> tuple[int, int] | None:
    """Two positive lengths, also given as one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value, value)
    if _numbers(value) and len(value) == 2 and min(value) > 1:
        return int(value[0]), int(value[1])
    return None


def _numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in value)
