"""What a data sample becomes with the new shape of its image and batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from .content import Shape, extent
from .fields import Fields, is_boxes, is_masks
from .functional import nearest_index, rescale_boxes, scaled_length

__all__ = ['Padding', 'Refit']


@dataclasses.dataclass(frozen=True)
class Padding:
    """What fills the part of a batch that is no image, as in mmdet's DetDataPreprocessor.

    Args:
        image: Of images, after their normalization.
        mask: Of instance masks.
        seg: Of maps of pixels that hold whole numbers; other maps get 0.
    """

    image: float = 0.0
    mask: int = 0
    seg: int = 255


@dataclasses.dataclass(frozen=True)
class Refit:
    """The change of one image and of the batch around it; shapes are (h, w) in px.

    Args:
        old: Of the batch before.
        new: Of the batch after.
        content: Of the image before, without padding.
        goal: Of the image after.
        divisor: What the batch's sides are multiples of.
        padding: What fills the rest.
        declared: What the user has said of values of his own.
    """

    old: Shape
    new: Shape
    content: Shape
    goal: Shape
    divisor: int
    padding: Padding
    declared: Fields

    @property
    def x_factor(self) -> float:
        """New width of the image through its old one."""
        return self.goal[1] / self.content[1]

    @property
    def y_factor(self) -> float:
        """New height of the image through its old one."""
        return self.goal[0] / self.content[0]

    def sample(self, sample: Any) -> Any:
        """A data sample for the new shapes; what it shares with the given one is not changed."""
        fields = {}
        for name, value in sample.items():
            if isinstance(value, InstanceData):
                value = value.new(**{key: self._field(key, item) for key, item in value.items()})
            elif isinstance(value, PixelData):
                value = value.new(**{key: self._map(item, self.padding.seg)
                                     for key, item in value.items()})
            fields[name] = value
        meta = self._meta(sample)
        return sample.new(metainfo=meta, **fields) if fields else sample.new(metainfo=meta)

    def _meta(self, sample: Any) -> dict[str, Any]:
        x_factor, y_factor = self.x_factor, self.y_factor
        meta = {name: self.declared.rescale(name, value, x_factor, y_factor)
                for name, value in sample.metainfo_items()}
        if 'img_shape' in meta:
            meta['img_shape'] = (*self.goal, *meta['img_shape'][2:])
        if 'pad_shape' in meta:
            meta['pad_shape'] = (*self._padded(meta['pad_shape'][:2]), *meta['pad_shape'][2:])
        meta['batch_input_shape'] = self.new
        if 'scale_factor' in meta:
            factors = (x_factor, y_factor) * 2  # mmdet keeps (w, h), or (w, h, w, h)
            meta['scale_factor'] = tuple(
                float(value) * factor
                for value, factor in zip(meta['scale_factor'], factors, strict=False))
        if meta.get('homography_matrix') is not None:
            scaling = np.diag([x_factor, y_factor, 1.0])
            meta['homography_matrix'] = (scaling @ meta['homography_matrix']).astype(np.float32)
        return meta

    def _padded(self, shape: Shape) -> Shape:
        """The (h, w) of the image with its padding, of which this was the one before."""
        own = extent([self.content], shape, self.divisor)
        height, width = (
            min(-(-goal // self.divisor) * self.divisor, whole) if length == content else whole
            for length, content, goal, whole in zip(own, self.content, self.goal, self.new,
                                                    strict=True))
        return height, width

    def _field(self, name: str, value: Any) -> Any:
        """One value per box: boxes, masks and flags of pixels under any name, or as declared."""
        if name == 'bboxes' and isinstance(value, Tensor):
            return rescale_boxes(value, self.x_factor, self.y_factor)
        if is_boxes(value):
            boxes = value.clone()
            boxes.rescale_((self.x_factor, self.y_factor))
            return boxes
        if is_masks(value) or (name == 'masks' and value is not None):
            return self._masks(value)
        if isinstance(value, (Tensor, np.ndarray)) and value.ndim > 2 and \
                value.dtype in (torch.bool, np.dtype(bool)) and \
                tuple(value.shape[-2:]) in (self.old, self.content):
            return self._map(value, 0)
        return self.declared.rescale(name, value, self.x_factor, self.y_factor)

    def _masks(self, masks: Any) -> Any:
        """BitmapMasks, PolygonMasks or a tensor ``(n, h, w)``, padded to the canvas or not."""
        if isinstance(masks, Tensor):
            return self._map(masks, self.padding.mask)
        if isinstance(masks.masks, np.ndarray):
            bitmaps = self._map(masks.masks, self.padding.mask)
            return type(masks)(bitmaps, *bitmaps.shape[-2:])
        # Padding polygons changes their canvas alone, whose factors then are the image's.
        polygons = masks.pad(self.content).resize(self.goal)
        return type(masks)(polygons.masks, *self._sides((masks.height, masks.width)))

    def _sides(self, shape: Shape) -> Shape:
        """The (h, w) after of a map: with the padding of the batch, unless it has none."""
        if shape == self.content != self.old:
            return self.goal
        height, width = map(scaled_length, shape, self.old, self.new)
        return height, width

    def _map(self, values: Any, fill: int) -> Any:
        """An array or tensor ``(..., h, w)`` of labels, by nearest neighbours.

        It is padded or not, and of the batch's resolution or of a share of it.
        """
        is_tensor = isinstance(values, Tensor)
        shape = tuple(values.shape[-2:])
        sides, indices = self._sides(shape), []
        for axis, length in enumerate(shape):
            whole = self.content[axis] if shape == self.content else self.old[axis]
            valid = min(-(-length * self.content[axis] // whole), length)
            index = nearest_index(valid, self.content[axis], self.goal[axis],
                                  values.device if is_tensor else None)
            indices.append(index[:sides[axis]] if is_tensor else index[:sides[axis]].numpy())
        rows, columns = indices
        picked = values[..., rows, :][..., columns]
        below, beside = sides[0] - len(rows), sides[1] - len(columns)
        if not below and not beside:
            return picked
        if is_tensor:
            fill = 0 if picked.is_floating_point() or picked.dtype == torch.bool else fill
            return F.pad(picked, (0, beside, 0, below), value=fill)
        fill = fill if picked.dtype.kind in 'iu' else 0
        return np.pad(picked, [(0, 0)] * (picked.ndim - 2) + [(0, below), (0, beside)],
                      constant_values=fill)
