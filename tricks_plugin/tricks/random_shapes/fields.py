"""What a data sample holds beside boxes and masks, and what a new shape makes of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, LabelData, PixelData

from ...plan.errors import TrickError

__all__ = ['Fields']

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

    Args:
        points: Fields whose last axis is x, y, or x, y and a third number that stays.
        lengths: Fields of lengths in px, which have no direction: scaled by the geometric mean of
            the two factors.
        ignore: Fields, meta information and parts of a batch that stay.
    """

    points: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def check(self, sample: Any) -> None:
        """Refuses a data sample with a field that is neither known nor declared.

        Raises:
            TrickError: Naming the field and the settings that declare it.
        """
        for where, value in sample.items():
            if isinstance(value, InstanceData):
                for name, item in value.items():
                    if name not in self._settled and _is_numeric(item):
                        raise TrickError(f'tricks.random_shapes: it is not known what a new shape '
                                         f'makes of {where}.{name}; {_advice(name)}')
            elif not isinstance(value, (PixelData, LabelData)) and where not in self.ignore:
                raise TrickError(
                    f'tricks.random_shapes: it is not known what a new shape makes of {where} '
                    f"({type(value).__name__}); tricks.random_shapes.ignore=['{where}'] leaves it")
        self._check_meta(sample)

    def _check_meta(self, sample: Any) -> None:
        boxes = len(sample.gt_instances) if 'gt_instances' in sample else 0
        shape = tuple(sample.metainfo.get('batch_input_shape', ())[:2])
        own = tuple(sample.metainfo.get('img_shape', ())[:2])
        for name, value in sample.metainfo_items():
            if name in _OF_ONE_IMAGE or name in self._declared or not _is_numeric(value):
                continue
            spans = _spans(value)
            if boxes and spans[0] == boxes or len(spans) > 1 and any(
                    side in (spans[:2], spans[-2:]) for side in (shape, own) if side):
                raise TrickError(f'tricks.random_shapes: it is not known what a new shape makes '
                                 f'of the meta information {name}; {_advice(name)}')

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
        if name in self.points:
            return _like(value, self._points(name, _floats(value), x_factor, y_factor))
        if name in self.lengths:
            return _like(value, _floats(value) * math.sqrt(x_factor * y_factor))
        return value

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


def _spans(value: Any) -> tuple[int, ...]:
    """The lengths of a value's axes; of rows of unlike length the first one."""
    try:
        return tuple(np.shape(value))
    except ValueError:
        return (len(value),)


def _is_numeric(value: Any) -> bool:
    """Whether a value holds numbers other than flags, in a sequence of any form."""
    if isinstance(value, torch.Tensor):
        return value.dim() > 0 and value.dtype != torch.bool
    try:
        array = np.asarray(value)
    except ValueError:  # rows of unlike length
        return True
    return array.ndim > 0 and array.dtype.kind in 'iuf'


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
