"""What a data sample holds beside boxes and masks, and what a new shape makes of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, LabelData, PixelData

from ...common.values import counts
from ...plan.errors import TrickError

__all__ = ['Fields', 'is_boxes', 'is_masks']

# Per box, and no length in px; `bboxes` and `masks` are rescaled by the augment itself.
_KNOWN = frozenset(('bboxes', 'masks', 'labels', 'scores', 'mixup_weights', 'instances_ids',
                    'map_instances_ids', 'text', 'positive_maps', 'level_ids'))
# Of one image by their meaning, whatever their length.
_OF_ONE_IMAGE = frozenset((
    'img_id', 'img_path', 'sample_idx', 'ori_shape', 'img_shape', 'pad_shape', 'scale',
    'scale_factor', 'flip', 'flip_direction', 'keep_ratio', 'batch_input_shape', 'border',
    'homography_matrix', 'ignore_index', 'seg_map_path', 'height', 'width', 'img_norm_cfg',
    'text', 'custom_entities', 'tokens_positive', 'dataset_mode'))


def _advice(name: str) -> str:
    path = 'tricks.random_shapes'
    return (f"{path}.points=['{name}'] scales x, y in px; {path}.lengths=['{name}'] scales lengths "
            f"in px; {path}.ignore=['{name}'] leaves it as it is")


@dataclasses.dataclass(frozen=True)
class Fields:
    """The values that the user has declared, by name; whatever else is refused.

    Meta information that has as many entries as the image has boxes may be per box, or be so by
    chance. The number of entries in other images tells: once they differ, it is of the image.

    Args:
        points: Fields whose last axis is x, y, or x, y and a third number that stays.
        lengths: Fields of lengths in px, which have no direction: scaled by the geometric mean of
            the two factors.
        ignore: Fields, meta information and parts of a batch that stay.
        harmless: Meta information that has been found to be of an image.
    """

    points: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    harmless: set[str] = dataclasses.field(default_factory=set)

    def check(self, samples: Iterable[Any]) -> None:
        """Refuses a batch whose data samples have a field that is neither known nor declared.

        Raises:
            TrickError: Naming the field and the settings that declare it.
        """
        fields: dict[str, None] = {}
        meta: dict[str, None] = {}
        for sample in samples:
            fields.update(self._unknown_fields(sample))
            meta.update(self._meta_per_box(sample))
        per_box = [name for name in meta if name not in self.harmless]
        for names, words in ((fields, ''), (per_box, 'the meta information ')):
            if names:
                first = min(names).rpartition('.')[2]
                raise TrickError('tricks.random_shapes: it is not known what a new shape makes of '
                                 f"{words}{', '.join(sorted(names))}; {_advice(first)}")

    def _unknown_fields(self, sample: Any) -> dict[str, None]:
        found: dict[str, None] = {}
        for where, value in sample.items():
            if isinstance(value, InstanceData):
                found.update((f'{where}.{name}', None) for name, item in value.items()
                             if name not in self._settled and _holds_numbers(item))
            elif not isinstance(value, (PixelData, LabelData)) and where not in self.ignore:
                raise TrickError(
                    f'tricks.random_shapes: it is not known what a new shape makes of {where} '
                    f"({type(value).__name__}); tricks.random_shapes.ignore=['{where}'] leaves it")
        return found

    def _meta_per_box(self, sample: Any) -> dict[str, None]:
        """Names of meta information that may be per box, or is a map of the image's size."""
        boxes = len(sample.gt_instances) if 'gt_instances' in sample else 0
        shapes = [tuple(sample.metainfo[name][:2]) for name in ('batch_input_shape', 'img_shape')
                  if name in sample.metainfo]
        found: dict[str, None] = {}
        for name, value in sample.metainfo_items():
            if name in _OF_ONE_IMAGE or name in self._declared or name in self.harmless or \
                    not _holds_numbers(value):
                continue
            lengths = counts(value)
            if boxes in lengths and boxes or _spans_image(value, shapes):
                found[name] = None
            elif boxes and lengths:
                self.harmless.add(name)
        return found

    def check_batch(self, batch: Any) -> None:
        """Refuses a batch with images beside ``inputs``, which no batch augment can reach.

        Raises:
            TrickError: Naming them.
        """
        if not isinstance(batch, dict):
            return
        for name, value in batch.items():
            if name in ('inputs', 'data_samples') or name in self.ignore:
                continue
            first = value[0] if isinstance(value, (list, tuple)) and value else value
            if isinstance(first, torch.Tensor) and first.dim() >= 2:
                raise TrickError(
                    f'tricks.random_shapes: the batch holds {name} beside inputs, which would '
                    f"keep its shape; tricks.random_shapes.ignore=['{name}'] leaves it")

    @property
    def _declared(self) -> tuple[str, ...]:
        return (*self.points, *self.lengths, *self.ignore)

    @property
    def _settled(self) -> frozenset[str]:
        return _KNOWN.union(self._declared)

    def rescale(self, name: str, value: Any, x_factor: float, y_factor: float) -> Any:
        """A field or meta value for the new shape; as it came where nothing was declared.

        Args:
            name: Of the field.
            value: A tensor, an array, or numbers in lists. Not changed.
            x_factor: New width through old width.
            y_factor: New height through old height.

        Raises:
            TrickError: If points do not end in x, y.
        """
        if name not in self.points and name not in self.lengths:
            return value
        if isinstance(value, Mapping):
            return {key: self.rescale(name, item, x_factor, y_factor)
                    for key, item in value.items()}
        if isinstance(value, (list, tuple)) and _is_ragged(value):
            return type(value)([self.rescale(name, item, x_factor, y_factor) for item in value])
        if name in self.points:
            return _like(value, self._points(name, _floats(value), x_factor, y_factor))
        return _like(value, _floats(value) * math.sqrt(x_factor * y_factor))

    @staticmethod
    def _points(name: str, values: torch.Tensor, x_factor: float, y_factor: float) -> torch.Tensor:
        if not values.numel():
            return values
        if values.dim() < 2 or values.shape[-1] not in (2, 3):
            raise TrickError('tricks.random_shapes.points: ' + name + ' must end in x, y or x, y '
                             f'and a third number, got shape {tuple(values.shape)}')
        factors = values.new_ones(values.shape[-1])
        factors[0], factors[1] = x_factor, y_factor
        return values * factors


def is_boxes(value: Any) -> bool:
    """Whether a value is an object of mmdet's boxes, which rescale themselves."""
    return hasattr(value, 'rescale_') and hasattr(value, 'clone')


def is_masks(value: Any) -> bool:
    """Whether a value is mmdet's BitmapMasks or PolygonMasks."""
    return hasattr(value, 'masks') and hasattr(value, 'height') and hasattr(value, 'width')


def _spans_image(value: Any, shapes: list[tuple[int, ...]]) -> bool:
    """Whether an array has two neighbouring sides of an image's height and width."""
    own = tuple(getattr(value, 'shape', None) or ())
    return any(own[place:place + 2] in shapes for place in range(len(own) - 1))


def _holds_numbers(value: Any, inside: bool = False) -> bool:
    """Whether a value holds numbers other than flags, in a sequence or object of any form.

    Args:
        value: Any; boxes and masks of mmdet count as known.
        inside: Whether it lies in a sequence, so that one number counts.
    """
    if isinstance(value, (bool, np.bool_, str, bytes)) or is_boxes(value) or is_masks(value):
        return False
    if isinstance(value, (int, float, np.number)):
        return inside
    if isinstance(value, torch.Tensor):
        return (inside or value.dim() > 0) and value.dtype != torch.bool
    if isinstance(value, np.ndarray) and value.dtype != object:
        return (inside or value.ndim > 0) and value.dtype.kind in 'iuf'
    if isinstance(value, Mapping):
        value = list(value.values())
    elif not isinstance(value, (list, tuple, np.ndarray)):
        value = list(getattr(value, '__dict__', {}).values())
    return any(_holds_numbers(item, True) for item in value)


def _is_ragged(value: Any) -> bool:
    """Whether a list holds arrays or lists of unlike length, or dicts."""
    try:
        return np.asarray(value).dtype == object
    except ValueError:
        return True


def _floats(value: Any) -> torch.Tensor:
    values = torch.as_tensor(value if isinstance(value, torch.Tensor) else np.asarray(value))
    return values if values.is_floating_point() else values.float()


def _like(value: Any, scaled: torch.Tensor) -> Any:
    """Scaled numbers in the form of the given ones; whole ones stay rounded whole numbers."""
    if isinstance(value, torch.Tensor):
        return scaled if value.is_floating_point() else scaled.round().to(value.dtype)
    if isinstance(value, np.ndarray):
        whole = value.dtype.kind in 'iu'
        return (scaled.round() if whole else scaled).numpy().astype(value.dtype)
    return type(value)(scaled.tolist())
