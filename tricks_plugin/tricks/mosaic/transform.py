"""The transform that makes one sample of four, at the scale that the config trains at."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import CachedMosaic, FilterAnnotations, RandomCrop, Resize
from mmengine.registry import TRANSFORMS

from ...common.shared_state import SharedState, Switchable
from ...plan.errors import TrickError

__all__ = ['MosaicToScale']

_JOINED = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags')
_SHOWN = ('img_scale', 'prob', 'ratio_range', 'max_cached_images', 'pad_val')


class _Mosaic(CachedMosaic):
    """mmdet's CachedMosaic with three different partners, of which it says which they are.

    Upstream draws with repetition, the sample itself included.
    """

    drawn: Sequence[int] | None = None  # places in the cache, of the latest sample; None: no mosaic

    def get_indexes(self, cache: list[dict[str, Any]]) -> list[int]:
        """Three of the cache; the sample itself is its last, unless it was popped at once."""
        self.drawn = random.sample(range(len(cache) - 1), 3)
        return list(self.drawn)


@TRANSFORMS.register_module()
class MosaicToScale(Switchable, BaseTransform):
    """Makes a mosaic of four samples, and a window of it that is as large as one image.

    Stands right after the loading of image and boxes. mmdet's CachedMosaic fits the sample and
    three earlier ones of the same worker process into a canvas of twice ``img_scale``; the canvas
    is zoomed, a window of ``img_scale`` is cut out of it wherever it falls, boxes are clipped to
    it, and those of a pixel or less are dropped, as mmdet's recipes do. So all later steps of a
    pipeline get an image with boxes as they got before. Where nothing is left of any box, the
    sample stays what it was; it does too for the first four samples of a worker, from which no
    mosaic can be made.

    `enabled` switches it in every worker process at once: it lies in shared memory. Switched off,
    a sample passes unchanged, and the cache is released.

    Required Keys: img, gt_bboxes (HorizontalBoxes or ndarray), gt_bboxes_labels, gt_ignore_flags.

    Modified Keys: the same, and img_shape.

    Args:
        img_scale: ``(w, h)`` in px, of each image in the canvas and of the window.
        prob: Share of the samples that become mosaics, in (0, 1].
        ratio_range: ``(low, high)``, what the canvas is zoomed by, uniformly drawn; at 0.5 the
            whole canvas fits into the window.
        max_cached_images: Samples that each worker keeps, at least 5; none is kept larger than
            ``img_scale``.
        pad_val: Grey level of what no image covers.

    Raises:
        ValueError: If an argument is out of its bounds.
        TrickError: From a sample that carries what cannot be joined.

    Attributes:
        shared: The switch, and counts of all worker processes: mosaics made, images that repeat
            another of their mosaic, samples that by ``prob`` are none, mosaics given up as no box
            was left, samples that only fill the cache, samples that pass while it is off.

    Source: arXiv 2004.10934 section 3.3 (mosaic), arXiv 2212.07784 section 3.3 (the cache, and the
    random zoom and crop after it).
    """

    counts = ('mosaics', 'repeats', 'undrawn', 'emptied', 'filling', 'skipped')

    def __init__(self, img_scale: Sequence[int], prob: float = 1.0,
                 ratio_range: Sequence[float] = (0.5, 1.5), max_cached_images: int = 40,
                 pad_val: float = 114.0) -> None:
        if len(img_scale) != 2 or not min(img_scale) >= 2:
            raise ValueError(f'img_scale must be (w, h) in px, got {img_scale!r}')
        if not 0 < prob <= 1:
            raise ValueError(f'prob must be in (0, 1], got {prob!r}')
        if len(ratio_range) != 2 or not 0.5 <= ratio_range[0] <= ratio_range[1]:
            raise ValueError('ratio_range must be (low, high) with 0.5 <= low <= high, got '
                             f'{ratio_range!r}')
        if max_cached_images < 5:
            raise ValueError(f'max_cached_images must be >= 5, got {max_cached_images!r}')
        self.img_scale = int(img_scale[0]), int(img_scale[1])
        self.prob = prob
        self.ratio_range = float(ratio_range[0]), float(ratio_range[1])
        self.max_cached_images = max_cached_images
        self.pad_val = pad_val
        self.mosaic = _Mosaic(img_scale=self.img_scale, prob=prob, pad_val=pad_val,
                              max_cached_images=max_cached_images)
        self.zoom = Resize(scale=self.img_scale, keep_ratio=True)
        self.window = [RandomCrop(crop_size=self.img_scale),
                       FilterAnnotations(min_gt_bbox_wh=(1, 1))]
        self.shared = SharedState(self.counts)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Makes a mosaic of one sample and three earlier ones, or returns it as it is.

        Args:
            results: The sample; neither it nor its arrays are written to.
        """
        if not self.enabled:
            self.mosaic.results_cache.clear()
            self.shared.count('skipped')
            return results
        _check(results)
        self.mosaic.drawn = None
        joined = self.mosaic(self._fitted(results))
        cache = self.mosaic.results_cache
        if self.mosaic.drawn is None:
            self.shared.count('filling' if len(cache) < 5 else 'undrawn')
            return results
        joined = self._cut(joined, np.random.uniform(*self.ratio_range))
        if joined is None:
            self.shared.count('emptied')
            return results
        images = [results, *(cache[place] for place in self.mosaic.drawn)]
        self.shared.count('mosaics')
        for _ in range(len(images) - len(set(map(_identity, images)))):
            self.shared.count('repeats')
        return {key: joined[key] for key in results}

    def _fitted(self, results: dict[str, Any]) -> dict[str, Any]:
        """The sample as it goes into the cache: no larger than it will be in the canvas."""
        height, width = results['img'].shape[:2]
        factor = min(self.img_scale[0] / width, self.img_scale[1] / height)
        sample = {**results, 'gt_bboxes': copy.deepcopy(results['gt_bboxes'])}
        if factor >= 1:
            return sample
        size = max(int(width * factor), 1), max(int(height * factor), 1)
        return Resize(scale=size)(sample)

    def _cut(self, canvas: dict[str, Any], ratio: float) -> dict[str, Any] | None:
        """A window of the zoomed canvas; None where no box is left in it."""
        width, height = self.img_scale
        self.zoom.scale = int(2 * width * ratio), int(2 * height * ratio)
        results: dict[str, Any] | None = self.zoom(canvas)
        for step in self.window:
            results = None if results is None else step(results)
        return results if results is not None and len(results['gt_bboxes']) else None

    def __repr__(self) -> str:
        shown = ', '.join(f'{name}={getattr(self, name)!r}' for name in _SHOWN)
        return f'{type(self).__name__}({shown})'


def _check(results: dict[str, Any]) -> None:
    """Refuses a sample of which the mosaic would lose or spoil a part.

    Raises:
        TrickError: If boxes are missing or not upright, if the image has other than three channels,
            or if there are annotations that are not joined.
    """
    missing = [key for key in ('img', *_JOINED) if results.get(key) is None]
    if missing:
        raise TrickError(f'tricks.mosaic: the sample must have {", ".join(missing)}, has '
                         f'{", ".join(sorted(results))}')
    boxes, shape = results['gt_bboxes'], results['img'].shape
    if not isinstance(boxes, np.ndarray) and type(boxes).__name__ != 'HorizontalBoxes':
        raise TrickError('tricks.mosaic: gt_bboxes must be HorizontalBoxes or an array, got '
                         f'{type(boxes).__name__}')
    if len(shape) == 3 and shape[2] != 3:
        raise TrickError("tricks.mosaic: mmdet's CachedMosaic makes canvases of one plane or of 3 "
                         f'channels, got an image of {shape[2]}')
    others = [key for key, value in results.items() if value is not None and key not in _JOINED
              and (key.startswith('gt_') or key == 'proposals')]
    if others:
        raise TrickError(f'tricks.mosaic: the sample must hold boxes, labels and flags alone, got '
                         f'{", ".join(sorted(others))}, which belong to one image')


def _identity(sample: dict[str, Any]) -> Any:
    """What tells an image from another; an object equal to nothing where the sample is silent."""
    known = (sample.get('img_path'), sample.get('img_id'))
    return object() if known == (None, None) else known
