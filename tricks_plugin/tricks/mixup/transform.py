"""The transform that mixes a sample with an earlier one, or with one of the dataset."""

from __future__ import annotations

import collections
import copy
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from .functional import blend, concat_annotations, contiguous_image, draw_lam

__all__ = ['GeometryPreservingMixUp']

_BOX_KEYS = {'gt_bboxes': 'bboxes', 'gt_bboxes_labels': 'labels', 'gt_ignore_flags': 'ignored',
             'gt_mixup_weights': 'weights', 'gt_masks': 'masks'}
_REQUIRED = ('img', 'gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags')
_FORBIDDEN = ('gt_seg_map', 'proposals', 'gt_keypoints')


@TRANSFORMS.register_module()
class GeometryPreservingMixUp(BaseTransform):
    """Blends a sample with a partner, each image keeping its own geometry.

    Both images are aligned at the top left of a canvas of the larger height and width, and
    blended by lam ~ Beta(alpha, alpha); boxes, labels, ignore flags and masks are joined
    unmoved, and each box gets its image's share as a weight. Stands just before the packing.

    The partner is one of the last ``cache_size`` samples that this worker process made, at this
    very point of the pipeline, so it costs no second load; a worker's first sample has none and
    stays unmixed. Partners are of the same kind only: equal dtype, channels, box type and mask
    type, and another image. With ``partner='dataset'`` mmdet's MultiImageMixDataset brings a
    freshly loaded one, in ``mix_results``.

    `enabled` switches it in every worker process at once: it lies in shared memory. Switched
    off, a sample passes unchanged, with weights of 1, and the cache is released.

    Required Keys:

    - img (uint8 or float32)
    - gt_bboxes (BaseBoxes or ndarray)
    - gt_bboxes_labels
    - gt_ignore_flags
    - gt_masks (BitmapMasks or PolygonMasks, optional)
    - mix_results (with ``partner='dataset'``)

    Modified Keys: img, img_shape, pad_shape (if there), gt_bboxes, gt_bboxes_labels,
    gt_ignore_flags, gt_masks (if there).

    Added Keys: gt_mixup_weights, float32 ``(num_boxes,)``.

    Args:
        alpha: lam ~ Beta(alpha, alpha).
        prob: Share of the samples that are mixed, in (0, 1].
        partner: ``'cache'`` or ``'dataset'``.
        cache_size: Samples that each worker keeps, at least 2.
        pad_value: Grey level of what an image does not cover; the paper's code has 0.

    Raises:
        ValueError: If an argument is out of its bounds; from a sample, if a required key is
            missing, or if it has annotations that cannot be mixed.

    Source: arXiv 1902.04103 section 3.1; gluon-cv ``gluoncv/data/mixup/detection.py``.
    """

    def __init__(self, alpha: float = 1.5, prob: float = 1.0, partner: str = 'cache',
                 cache_size: int = 16, pad_value: float = 0.0) -> None:
        if not alpha > 0:
            raise ValueError(f'alpha must be > 0, got {alpha!r}')
        if not 0 < prob <= 1:
            raise ValueError(f'prob must be in (0, 1], got {prob!r}')
        if partner not in ('cache', 'dataset'):
            raise ValueError(f"partner must be 'cache' or 'dataset', got {partner!r}")
        if cache_size < 2:
            raise ValueError(f'cache_size must be >= 2, got {cache_size!r}')
        self.alpha = alpha
        self.prob = prob
        self.partner = partner
        self.cache_size = cache_size
        self.pad_value = pad_value
        self._cache: collections.deque[dict[str, Any]] = collections.deque(maxlen=cache_size)
        self._switch = torch.ones(1, dtype=torch.uint8).share_memory_()

    @property
    def enabled(self) -> bool:
        """Whether samples are mixed: one switch for all processes that hold this transform."""
        return bool(self._switch.item())

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._switch.fill_(int(value))

    def get_indexes(self, dataset: Any) -> list[int]:
        """The partner that MultiImageMixDataset shall load; none while none is needed.

        Args:
            dataset: The dataset inside the wrapper.
        """
        wanted = self.enabled and np.random.random_sample() < self.prob
        if self.partner == 'cache' or not wanted:
            return []
        return [int(np.random.randint(len(dataset)))]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mixes one sample.

        Args:
            results: The sample; changed in place. Its arrays are not written to.
        """
        self._check(results)
        if 'gt_mixup_weights' not in results:
            results['gt_mixup_weights'] = np.ones(len(results['gt_bboxes']), np.float32)
        if not self.enabled:
            self._cache.clear()
            return results
        partner, lam = self._draw(results)
        if self.partner == 'cache':
            self._remember(results, mixed=partner is not None)
        return results if partner is None else self._mix(results, partner, lam)

    def _check(self, results: dict[str, Any]) -> None:
        missing = [key for key in _REQUIRED if results.get(key) is None]
        if missing:
            raise ValueError(f'GeometryPreservingMixUp needs {", ".join(_REQUIRED)}; the sample '
                             f'lacks {", ".join(missing)}, has {", ".join(sorted(results))}')
        wrong = [key for key in _FORBIDDEN if results.get(key) is not None]
        if wrong:
            raise ValueError('GeometryPreservingMixUp cannot mix samples that carry '
                             f'{", ".join(wrong)}')

    def _draw(self, results: dict[str, Any]) -> tuple[dict[str, Any] | None, float]:
        """The partner, None to leave the sample unmixed, and the sample's share lam.

        Draws from NumPy's global generator, which mmengine seeds in every worker.
        """
        lam = draw_lam(np.random, self.alpha)
        chosen, place = np.random.random_sample(2)
        if self.partner == 'dataset':  # get_indexes has drawn already
            others = results.get('mix_results') or []
        else:
            others = self._cache if chosen < self.prob else []
        kind, identity = _kind(results), _identity(results)
        candidates = [other for other in others
                      if _kind(other) == kind and _identity(other) != identity]
        if not candidates:
            return None, 1.0
        return candidates[int(place * len(candidates))], lam

    def _remember(self, results: dict[str, Any], mixed: bool) -> None:
        """Caches the sample as it is, owning every byte that travels on.

        A mixed sample travels on as a new array, so only an unmixed one must be copied.
        """
        image = contiguous_image(results['img'])
        if image.base is not None or (image is results['img'] and not mixed):
            image = image.copy()
        if mixed:
            results['img'] = image
        entry = {'img': image}
        entry.update((key, results[key] if mixed else _copy(results[key]))
                     for key in _BOX_KEYS if key in results)
        entry.update((key, results[key]) for key in ('img_path', 'img_id') if key in results)
        self._cache.append(entry)

    def _mix(self, results: dict[str, Any], partner: dict[str, Any], lam: float) -> dict[str, Any]:
        """Blends the images and joins the annotations: ``lam`` is the share of ``results``."""
        canvas = blend(results['img'], partner['img'], lam, self.pad_value)
        parts: list[dict[str, Any]] = []
        for sample in (results, partner):
            part = {name: sample[key] for key, name in _BOX_KEYS.items() if key in sample}
            if 'masks' in part:
                part['masks'] = _pad(part['masks'], canvas.shape[:2])
            parts.append(part)
        joined = concat_annotations(parts[0], parts[1], lam)
        results.update((key, joined[name]) for key, name in _BOX_KEYS.items() if name in joined)
        results['img'] = canvas
        results['img_shape'] = canvas.shape[:2]
        if 'pad_shape' in results:
            results['pad_shape'] = canvas.shape
        return results

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state['_cache'] = collections.deque(maxlen=self.cache_size)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._switch.share_memory_()

    def __deepcopy__(self, memo: dict[int, Any]) -> GeometryPreservingMixUp:
        """A copy with an empty cache that obeys the same switch."""
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        other.__dict__.update(self.__getstate__())
        return other

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(alpha={self.alpha}, prob={self.prob}, '
                f'partner={self.partner!r}, cache_size={self.cache_size}, '
                f'pad_value={self.pad_value})')


def _kind(sample: dict[str, Any]) -> tuple[Any, ...]:
    """What two samples must share to be mixed."""
    image = sample['img']
    return (image.dtype.str, image.shape[2:], type(sample['gt_bboxes']),
            type(sample.get('gt_masks')))


def _identity(sample: dict[str, Any]) -> Any:
    """What tells an image from another; an object equal to nothing where the sample is silent."""
    known = (sample.get('img_path'), sample.get('img_id'))
    return object() if known == (None, None) else known


def _copy(value: Any) -> Any:
    """A copy of arrays, boxes or masks that shares no memory with them."""
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.clone() if hasattr(value, 'clone') else copy.deepcopy(value)


def _pad(masks: Any, shape: tuple[int, ...]) -> Any:
    """The masks on a canvas of a shape, sharing no memory with them."""
    padded = masks.pad(shape)
    return _copy(padded) if isinstance(padded.masks, list) else padded
