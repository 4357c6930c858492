"""The batch augment that gives a whole batch one random shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from .fields import Fields, is_boxes, is_masks
from .functional import (
    MIN_SIZE,
    SIDES,
    draw_size,
    nearest_index,
    rescale_boxes,
    resize_images,
    scaled_length,
    target_shape,
    training_sizes,
)

__all__ = ['BatchRandomShapes']

Shape = tuple[int, int]


@MODELS.register_module()
class BatchRandomShapes(nn.Module):
    """Resizes each training batch, and all that its data samples hold, to one random shape.

    The shape follows from the seed and the iteration alone, which `BatchRandomShapesHook` hands
    over (``custom_hooks=[dict(type='tricks_plugin.BatchRandomShapesHook')]``); without the hook
    the first batch raises. Stands in ``model.data_preprocessor.batch_augments``.

    The ratio of the drawn size to ``base`` is applied to each batch's own padded shape, so a
    landscape batch stays landscape: see `functional.target_shape` for the rounding. In the clean
    tail, which the hook tells, every batch has the size ``home``. Boxes, masks,
    maps of pixels (nearest) and ``scale_factor`` take the factors of the canvas, new side through
    old side, exactly; ``img_shape`` and ``pad_shape`` are rounded. ``ori_shape`` is left alone.

    Args:
        base: The short side (or the long one, see ``side``), in px, of what the pipeline
            delivers: this size leaves batches as they are.
        sizes: Such sides to draw from, in px. Either this or ``ratio_range``.
        ratio_range: ``(low, high)`` as shares of ``base``; stands for every multiple in it.
        divisor: What the sides of every batch become multiples of.
        interval: Iterations between two draws.
        seed: Overrides the run's seed.
        home: The size at which the model will be tested: drawn more often, and the one of the
            tail. None draws all alike, and has the tail at ``base``.
        share: Share of the draws at ``home``, in [0, 1), if it is one of the sizes; 0 draws it as
            often as any.
        side: Which side sizes are: ``'short'``, or ``'long'`` where a resize fits each image into
            a square, so that long sides are equal and short ones are not.
        points: Names of further values that hold x, y in px, see `fields.Fields`.
        lengths: Names of further values that are lengths in px.
        ignore: Names of further values that stay as they are.

    Raises:
        ValueError: If an argument is out of its bounds.
        TrickError: From a batch, if a data sample holds what is neither known nor declared.

    Source: arXiv 1902.04103 section 3.6; gluon-cv ``RandomTransformDataLoader``, at the authors'
    interval of 10, draws in each process by itself and transforms the raw images.
    """

    def __init__(self, base: int, sizes: Sequence[int] | None = None,
                 ratio_range: Sequence[float] | None = None, divisor: int = 32,
                 interval: int = 10, seed: int | None = None, points: Sequence[str] = (),
                 lengths: Sequence[str] = (), ignore: Sequence[str] = (),
                 home: int | None = None, share: float = 0.5, side: str = 'short') -> None:
        super().__init__()
        if (sizes is None) == (ratio_range is None):
            raise ValueError('either sizes or ratio_range must be given, '
                             f'got {sizes!r} and {ratio_range!r}')
        if not 0 <= share < 1:
            raise ValueError(f'share must be in [0, 1), got {share!r}')
        if side not in SIDES:
            raise ValueError(f'side must be one of {SIDES}, got {side!r}')
        for name, value in (('base', base), ('divisor', divisor), ('interval', interval)):
            if value < 1:
                raise ValueError(f'{name} must be >= 1, got {value!r}')
        if ratio_range is not None:
            sizes = training_sizes(base, ratio_range, divisor)
        self.sizes = sorted(set(sizes or ()))
        wrong = [size for size in self.sizes if size % divisor or size < MIN_SIZE]
        if wrong or not self.sizes:
            raise ValueError(f'sizes must be multiples of divisor ({divisor}), {MIN_SIZE} or '
                             f'more, got {wrong or sizes!r}')
        if home is not None and (home % divisor or home < 1):
            raise ValueError(f'home must be a multiple of divisor ({divisor}), got {home!r}')
        self.base = base
        self.home = home
        self.share = share
        self.side = side
        self.divisor = divisor
        self.interval = interval
        self.seed = seed
        self.fields = Fields(tuple(points), tuple(lengths), tuple(ignore))
        self.size: int | None = None

    def reach(self, ends: bool) -> list[int]:
        """The sizes of a training, ascending: those that are drawn, and the tail's if it ends."""
        clean = self.base if self.home is None else self.home
        return sorted({*self.sizes, clean} if ends else self.sizes)

    def set_iteration(self, iteration: int, seed: int, tail: bool = False,
                      ends: bool = False) -> None:
        """Draws the size of an iteration.

        Args:
            iteration: Counted from 0 over the whole training.
            seed: The run's seed, equal on all ranks.
            tail: Whether it lies in the clean tail, where nothing is drawn.
            ends: Whether the training has such a tail. In the first interval the size is the
                largest of all, that of the tail among them.
        """
        if tail:
            self.size = self.base if self.home is None else self.home
            return
        seed = seed if self.seed is None else self.seed
        home = self.home if self.home in self.sizes else None
        self.size = draw_size(seed, iteration, self.sizes, self.interval, home, self.share) \
            if iteration >= self.interval else self.reach(ends)[-1]

    def forward(self, inputs: Tensor, data_samples: list[Any] | None,
                ) -> tuple[Tensor, list[Any] | None]:
        """Resizes a batch.

        Args:
            inputs: ``(n, channels, h, w)``, floating point. Not changed.
            data_samples: One DetDataSample per image, boxes in px of the padded image. Not
                changed.

        Returns:
            The resized images and new data samples; both as they came if the shape stays.

        Raises:
            RuntimeError: If no hook has said which iteration this is.
        """
        if self.size is None:
            raise RuntimeError('BatchRandomShapes was not told the iteration: add '
                               "custom_hooks=[dict(type='tricks_plugin.BatchRandomShapesHook')]")
        old = (int(inputs.shape[-2]), int(inputs.shape[-1]))
        self.fields.check(data_samples or ())
        new = self.shape_of(old, self.size)
        if new == old:
            return inputs, data_samples
        inputs = resize_images(inputs, new)
        if data_samples is not None:
            data_samples = [_rescale_sample(sample, old, new, self.fields)
                            for sample in data_samples]
        return inputs, data_samples

    def shape_of(self, shape: Shape, size: int) -> Shape:
        """What batches of a padded shape (h, w) become at a size."""
        return target_shape(shape, size / self.base, self.divisor, self.side)

    def extra_repr(self) -> str:
        """The settings, for the model's printout."""
        return (f'sizes={self.sizes}, base={self.base}, divisor={self.divisor}, '
                f'interval={self.interval}, home={self.home}, share={self.share:g}, '
                f'side={self.side!r}')


def _rescale_sample(sample: Any, old: Shape, new: Shape, declared: Fields) -> Any:
    """A data sample for the new canvas; what it shares with the given one is not changed."""
    y_factor, x_factor = new[0] / old[0], new[1] / old[1]
    own = tuple(sample.metainfo.get('img_shape', old)[:2])
    fields = {}
    for name, value in sample.items():
        if isinstance(value, InstanceData):
            value = value.new(**{key: _rescale_field(key, item, old, new, own, declared)
                                 for key, item in value.items()})
        elif isinstance(value, PixelData):
            value = value.new(**{key: _rescale_map(item, old, new)
                                 for key, item in value.items()})
        fields[name] = value
    meta = {name: declared.rescale(name, value, x_factor, y_factor)
            for name, value in sample.metainfo_items()}
    for name in ('img_shape', 'pad_shape'):
        if name in meta:
            h, w, *rest = meta[name]
            meta[name] = (scaled_length(h, old[0], new[0]), scaled_length(w, old[1], new[1]),
                          *rest)
    meta['batch_input_shape'] = new
    if 'scale_factor' in meta:
        factors = (x_factor, y_factor) * 2  # mmdet keeps (w, h), or (w, h, w, h)
        meta['scale_factor'] = tuple(
            float(value) * factor
            for value, factor in zip(meta['scale_factor'], factors, strict=False))
    if meta.get('homography_matrix') is not None:
        scaling = np.diag([x_factor, y_factor, 1.0])
        meta['homography_matrix'] = (scaling @ meta['homography_matrix']).astype(np.float32)
    return sample.new(metainfo=meta, **fields) if fields else sample.new(metainfo=meta)


def _rescale_field(name: str, value: Any, old: Shape, new: Shape, own: tuple[int, ...],
                   declared: Fields) -> Any:
    """One value per box: boxes, masks and flags of pixels under any name, or as declared.

    ``own`` is the image's (h, w) without padding.
    """
    y_factor, x_factor = new[0] / old[0], new[1] / old[1]
    if name == 'bboxes' and isinstance(value, Tensor):
        return rescale_boxes(value, x_factor, y_factor)
    if is_boxes(value):
        boxes = value.clone()
        boxes.rescale_((x_factor, y_factor))
        return boxes
    if is_masks(value) or (name == 'masks' and value is not None):
        return _rescale_masks(value, old, new)
    if isinstance(value, (Tensor, np.ndarray)) and value.dtype in (torch.bool, np.dtype(bool)) \
            and value.ndim > 2 and tuple(value.shape[-2:]) in (old, own):
        return _rescale_map(value, old, new)
    return declared.rescale(name, value, x_factor, y_factor)


def _rescale_masks(masks: Any, old: Shape, new: Shape) -> Any:
    """BitmapMasks, PolygonMasks or a tensor ``(n, h, w)``, padded to the canvas or not."""
    if isinstance(masks, Tensor):
        return _rescale_map(masks, old, new)
    h, w = (scaled_length(length, before, after)
            for length, before, after in zip((masks.height, masks.width), old, new, strict=True))
    if isinstance(masks.masks, np.ndarray):
        return type(masks)(_rescale_map(masks.masks, old, new), h, w)
    # Padding polygons changes their canvas alone, whose factors then are the batch's.
    polygons = masks.pad(old).resize(new)
    return type(masks)(polygons.masks, h, w)


def _rescale_map(values: Any, old: Shape, new: Shape) -> Any:
    """An array or tensor ``(..., h, w)`` of labels, by nearest neighbours."""
    is_tensor = isinstance(values, Tensor)
    rows, columns = (
        nearest_index(length, before, after, values.device if is_tensor else None)
        for length, before, after in zip(values.shape[-2:], old, new, strict=True))
    if is_tensor:
        return values[..., rows, :][..., columns]
    return values[..., rows.numpy(), :][..., columns.numpy()]
