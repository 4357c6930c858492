"""Which steps of a pipeline end, and what must stand in for them so that later steps still fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from ...mm.config_edit import Pipeline, find, is_a, type_name

__all__ = ['Closed', 'close_steps']

_MOSAICS = ('Mosaic', 'Mosaic9')
_WARPS = ('RandomAffine', 'YOLOv5RandomAffine')
_FIXED = ('Resize', 'FixScaleResize', 'FixShapeResize', 'ResizeShortestEdge', 'LetterResize',
          'YOLOv5KeepRatioResize', 'RandomResizedCrop')
_DRAWN = ('RandomResize', 'RandomChoiceResize')
_CUTS = ('RandomCrop', 'Pad')
_NESTS = ('RandomApply', 'RandomChoice', 'RandomOrder')
_GREY = 114  # what mosaics and warps fill with

Scale = tuple[int, int]


@dataclasses.dataclass
class Closed:
    """What was switched in a training's pipelines.

    Attributes:
        names: Class names of the steps that end, in the order of the pipelines.
        notes: Clauses on what stands in for them, and on what was left.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def note(self, words: str) -> None:
        """Adds a clause once."""
        if words not in self.notes:
            self.notes.append(words)


def close_steps(pipelines: Sequence[Pipeline], names: Collection[str],
                crops: Collection[str], scope: str) -> Closed:
    """Wraps every step of the named classes in `Switched`, in place.

    Args:
        pipelines: All of the training dataset.
        names: Class names; a subclass counts.
        crops: Class names of steps that end only where a resize follows them.
        scope: The config's default scope.
    """
    closed = Closed()
    for pipeline in pipelines:
        outer = [other for other in pipelines if other.path != pipeline.path
                 and pipeline.path.startswith(other.path[:-len('pipeline')])]
        outer.sort(key=lambda other: -len(other.path))
        _Line(pipeline, [step for other in outer for step in other.steps],
              names, crops, scope, closed).close()
    return closed


class _Line:
    """One pipeline whose steps are to end.

    Args:
        pipeline: The pipeline.
        after: The steps of the wrappers around its dataset.
        names: Class names of the steps that end.
        crops: Of those that end where a resize follows.
        scope: The config's default scope.
        closed: Takes what was done.
    """

    def __init__(self, pipeline: Pipeline, after: Sequence[Any], names: Collection[str],
                 crops: Collection[str], scope: str, closed: Closed) -> None:
        self.pipeline = pipeline
        self.steps = pipeline.steps
        self.after = after
        self.names = names
        self.crops = crops
        self.scope = scope
        self.closed = closed

    def close(self) -> None:
        """Puts the switches in."""
        skipped = self.pipeline.owner.get('skip_type_keys') or ()  # a MultiImageMixDataset's own
        ending = {index for index, step in enumerate(self.steps)
                  if (self._is(step, *self.names) or self._is_resized_crop(index))
                  and step.get('type') not in skipped}
        instead = self._stand_ins(ending)
        new = []
        for index, step in enumerate(self.steps):
            if index in ending or index in instead:
                new.append(_switched(step, *instead.get(index, ())))
            elif isinstance(step, dict):
                new.append(self._inside(step))
            else:
                new.append(step)
            if index in ending:
                self.closed.names.append(type_name(step))
                if self._is(step, 'RandomCrop') and not self._is_resized(index):
                    self.closed.note(f'nothing stands in for {type_name(step)}, which set the size')
        self.pipeline.steps = new

    def _is(self, step: Any, *names: str) -> bool:
        return isinstance(step, dict) and is_a(step, *names, scope=self.scope)

    def _is_resized_crop(self, index: int) -> bool:
        """Whether a step is a crop whose size is not that of the batch, as a later step resizes."""
        return self._is(self.steps[index], *self.crops) and self._is_resized(index)

    def _is_resized(self, index: int) -> bool:
        """Whether a later step resizes what a step leaves."""
        return any(self._is(step, *_FIXED, *_DRAWN)
                   for step in [*self.steps[index + 1:], *self.after])

    def _stand_ins(self, ending: set[int]) -> dict[int, list[dict[str, Any]]]:
        """The steps that stand in for others while those are off, by index.

        Args:
            ending: The steps that end. Those whose end would leave sizes that later steps do not
                expect are taken out; a warp that belongs to a mosaic comes in.
        """
        for index in [one for one in ending if self._decides_inside(self.steps[one])]:
            ending.discard(index)
            self.closed.note(f'{type_name(self.steps[index])} is left, as steps inside it decide '
                             'about the size')
        setter: tuple[int, Scale] | None = None  # the step that ends and set the size, and to what
        canvas: Scale | None = None  # of a mosaic that stays
        for index, step in enumerate(self.steps):
            border = _border(step) if self._is(step, *_WARPS) else None
            if self._is(step, *_MOSAICS):
                width, height = _scale(step)
                if index in ending:
                    setter, canvas = (index, (width, height)), None
                else:
                    canvas = 2 * width, 2 * height
            elif border and setter:
                if index not in ending:
                    self.closed.note(f"{type_name(step)} ends too, as its border is the mosaic's")
                ending.add(index)
            elif border and canvas and index in ending:
                setter = index, (canvas[0] + 2 * border[1], canvas[1] + 2 * border[0])
            elif border and index in ending:
                ending.discard(index)
                self.closed.note(f'{type_name(step)} is left, as its border decides about the size')
        return self._instead_of(*setter) if setter else {}

    def _instead_of(self, setter: int, scale: Scale) -> dict[int, list[dict[str, Any]]]:
        """What brings images to a scale while the step that did so is off."""
        resize = dict(type='mmdet.Resize', scale=scale, keep_ratio=True)
        words = f'a resize to {scale[0]} x {scale[1]}'
        later = list(enumerate(self.steps))[setter + 1:]
        for index, step in later:
            if self._is(step, *_DRAWN) and not self._is_for_doubled(setter, index, scale):
                return {}  # it draws about the scale itself
            if self._is(step, *_DRAWN):
                self.closed.note(f"{type_name(step)} on the mosaic's double canvas gives way to "
                                 f'{words}')
                return {index: [resize]}
            if self._is(step, *_FIXED):
                return {}
        if any(self._is(step, *_FIXED, *_DRAWN) for step in self.after):
            return {}
        name = type_name(self.steps[setter])
        if any(self._is(step, *_CUTS) for step in [*(step for _, step in later), *self.after]):
            self.closed.note(f'{words} stands in for {name}, which set the size')
            return {setter: [resize]}
        self.closed.note(f'{words} and a padding stand in for {name}, which set the size')
        return {setter: [resize, dict(type='mmdet.Pad', size=scale,
                                      pad_val=dict(img=(_GREY,) * 3))]}

    def _is_for_doubled(self, setter: int, index: int, scale: Scale) -> bool:
        """Whether a drawn resize expects a mosaic's double canvas, which nothing has undone."""
        if not self._is(self.steps[setter], *_MOSAICS) or any(
                self._is(step, *_WARPS) and _border(step) for step in self.steps[setter:index]):
            return False
        asked = _largest(self.steps[index])
        return asked is None or asked > 1.5 * max(scale)

    def _decides_inside(self, step: dict[str, Any]) -> bool:
        """Whether a policy's own steps decide about the size of the images."""
        inner = {key: value for key, value in step.items() if key != 'type'}
        return next(find(inner, *_FIXED, *_DRAWN, *_CUTS, scope=self.scope), None) is not None

    def _inside(self, step: dict[str, Any]) -> dict[str, Any]:
        """A step with switches around those of its own steps that end."""
        if not self._is(step, *_NESTS) or not isinstance(step.get('transforms'), list):
            return step

        def visit(item: Any) -> Any:
            if isinstance(item, list):
                return [visit(one) for one in item]
            if not self._is(item, *self.names):
                if self._is(item, *self.crops):
                    self.closed.note(f'{type_name(item)} inside {type_name(step)} is left, as it '
                                     'decides about the size')
                return self._inside(item) if isinstance(item, dict) else item
            if self._is(item, *_MOSAICS) or _border(item) or self._decides_inside(item):
                self.closed.note(f'{type_name(item)} inside {type_name(step)} is left, as it '
                                 'decides about the size')
                return item
            self.closed.names.append(type_name(item))
            return _switched(item)

        return {**step, 'transforms': visit(step['transforms'])}


def _switched(step: dict[str, Any], *instead: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(type='tricks_plugin.Switched', transform=step)
    return {**found, 'instead': list(instead)} if instead else found


def _largest(step: dict[str, Any]) -> float | None:
    """The longest side of the scales that a drawn resize names; None if it names none."""
    found: list[float] = []
    todo = [step.get('scale'), step.get('scales')]
    while todo:
        one = todo.pop()
        if isinstance(one, (list, tuple)):
            todo.extend(one)
        elif isinstance(one, (int, float)):
            found.append(one)
    return max(found, default=None)


def _scale(step: dict[str, Any]) -> Scale:
    """A mosaic's own scale (w, h): an image of its own would be fitted into it."""
    scale = step.get('img_scale') or (640, 640)
    if isinstance(scale, int):
        return scale, scale
    return int(scale[0]), int(scale[1])


def _border(step: dict[str, Any]) -> tuple[int, int] | None:
    """What a warp adds to the (height, width) on each side; None without a border."""
    border = step.get('border')
    if isinstance(border, (list, tuple)) and len(border) == 2 and any(border):
        return int(border[0]), int(border[1])
    return None
