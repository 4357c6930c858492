"""What the mixing reads of a sample, and the earlier samples that it keeps as partners."""

from __future__ import annotations

import collections
import copy
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .functional import blend, contiguous_image, planar_image

__all__ = ['BOX_KEYS', 'REFUSED', 'SampleCache', 'blend_planes', 'blendable', 'blended',
           'box_values', 'check', 'identity', 'kept', 'kind', 'likest', 'matching', 'num_bytes',
           'padded']

# What the pipeline calls a sample's values per box, and what `concat_annotations` is given.
BOX_KEYS = {'gt_bboxes': 'bboxes', 'gt_bboxes_labels': 'labels', 'gt_ignore_flags': 'ignored',
            'gt_mixup_weights': 'weights', 'gt_masks': 'masks'}
_REQUIRED = ('img', 'gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags')
REFUSED = {
    'gt_seg_map': 'a semantic map holds one class per pixel, and a blended pixel shows two '
                  '(LoadAnnotations(with_seg=False) leaves the map out; '
                  "tricks.mixup.ignore=['gt_seg_map'] keeps the first image's)",
    'gt_keypoints': "mmdet's packing has no place for keypoints "
                    '(LoadAnnotations(with_keypoints=False) leaves them out; '
                    "tricks.mixup.per_box=['gt_keypoints'] joins them, for a packing of your own)",
}


def check(results: dict[str, Any], allowed: Collection[str] = ()) -> None:
    """Refuses a sample that cannot be mixed.

    Args:
        results: The sample.
        allowed: Keys that the user has declared, of which none is refused.

    Raises:
        ValueError: If a required key is missing, or the sample carries what cannot be blended.
    """
    missing = [key for key in _REQUIRED if results.get(key) is None]
    if missing:
        raise ValueError(f'GeometryPreservingMixUp needs {", ".join(_REQUIRED)}; the sample '
                         f'lacks {", ".join(missing)}, has {", ".join(sorted(results))}')
    for key, reason in REFUSED.items():
        if results.get(key) is not None and key not in allowed:
            raise ValueError(
                f'GeometryPreservingMixUp cannot mix samples that carry {key}: {reason}')


def blendable(image: np.ndarray) -> np.ndarray:
    """An image as uint8 or float32; the image itself if it is either.

    mmdet's CopyPaste makes int64 of uint8; signed integers that all are grey levels from 0 to
    255 become uint8 again, all else becomes float32.

    Args:
        image: ``(h, w)`` or ``(h, w, channels)``, of any number type.
    """
    if image.dtype in (np.uint8, np.float32):
        return image
    if image.dtype.kind == 'i' and image.size and image.min() >= 0 and image.max() <= 255:
        return image.astype(np.uint8)
    return image.astype(np.float32)


def kind(sample: dict[str, Any]) -> tuple[Any, ...]:
    """What two samples must share to be mixed."""
    image, boxes, masks = sample['img'], sample['gt_bboxes'], sample.get('gt_masks')
    return (image.dtype.str, image.shape[2:], type(boxes), tuple(boxes.shape[1:]), type(masks))


def identity(sample: dict[str, Any]) -> Any:
    """What tells an image from another; an object equal to nothing where the sample is silent."""
    known = (sample.get('img_path'), sample.get('img_id'))
    return object() if known == (None, None) else known


def matching(results: dict[str, Any], others: Iterable[dict[str, Any]],
             like: bool = False) -> list[dict[str, Any]]:
    """The samples that can be mixed with one: of its kind, and of another image.

    Args:
        results: The one.
        others: Samples.
        like: Whether only the `likest` of them.
    """
    own_kind, own_identity = kind(results), identity(results)
    found = [other for other in others
             if (other['kind'] if 'kind' in other else kind(other)) == own_kind
             and (other['identity'] if 'identity' in other else identity(other)) != own_identity]
    return likest(found, results['img'].shape) if like and found else found


def likest(others: Sequence[dict[str, Any]], shape: Sequence[int]) -> list[dict[str, Any]]:
    """The quarter of the samples whose images are most like one in shape, rounded up.

    How unlike two images are is the area of their common canvas to that of the smaller image: 1
    for equal shapes, 4/3 for 640 x 480 and 480 x 640. Those as like as the last of the quarter
    belong to it, so that images of one shape are all in.

    Args:
        others: Samples, at least one.
        shape: (h, w, ...) of the image.
    """
    h, w = shape[:2]
    unlike = [max(h, image.shape[0]) * max(w, image.shape[1]) / max(
        min(h * w, image.shape[0] * image.shape[1]), 1) for image in (
            other['img'] for other in others)]
    limit = sorted(unlike)[-(-len(unlike) // 4) - 1]
    return [other for other, value in zip(others, unlike, strict=True) if value <= limit]


def kept(results: dict[str, Any], fresh: bool,
         extras: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A sample as a partner keeps it: laid out for blending, sharing no byte with what travels on.

    Images with channels are laid out channel by channel, as the packing wants the blend, and as
    some transforms leave them: one copy serves the cache, the blend and the packing.

    Args:
        results: The sample. If ``fresh``, its image becomes the one that is kept.
        fresh: Whether the sample will travel on in new arrays, so that only a view of a larger
            array must be copied.
        extras: Further values to keep.
    """
    given = results['img']
    image = planar_image(given) if given.ndim == 3 else contiguous_image(given)
    own = image.base is None or getattr(image.base, 'nbytes', 0) == image.nbytes
    if not own or (image is given and not fresh):
        image = image.copy(order='K')
    if fresh:
        results['img'] = image
    entry: dict[str, Any] = {'img': image}
    entry.update((key, results[key] if fresh else _copy(results[key]))
                 for key in BOX_KEYS if results.get(key) is not None)
    entry.update((key, value if fresh else _copy(value))
                 for key, value in (extras or {}).items())
    entry.update((key, results[key]) for key in ('img_path', 'img_id') if key in results)
    # Every later sample asks these of every cached one.
    entry['kind'], entry['identity'] = kind(entry), identity(entry)
    return entry


def blend_planes(planes1: np.ndarray, planes2: np.ndarray, lam: float,
                 pad_value: float = 0.0) -> np.ndarray:
    """Blends two images that are laid out channel by channel; see `blend`.

    Args:
        planes1: ``(channels, h1, w1)``, C-contiguous, uint8 or float32.
        planes2: The same kind.
        lam: Share of the first image in [0, 1].
        pad_value: Grey level of uncovered parts.

    Returns:
        ``(channels, max(h1, h2), max(w1, w2))``.

    Raises:
        TypeError: If the dtypes differ, or are neither uint8 nor float32.
        ValueError: If the channels differ, or ``lam`` or ``pad_value`` does not fit.
    """
    if len(planes1) != len(planes2):
        raise ValueError('the images must have equal channels, '
                         f'got shapes {planes1.shape} and {planes2.shape}')
    height, width = (max(a, b) for a, b in zip(planes1.shape[1:], planes2.shape[1:], strict=True))
    canvas = np.empty((len(planes1), height, width), planes1.dtype)
    if planes1.shape == planes2.shape:  # all planes are one picture
        blend(planes1.reshape(-1, width), planes2.reshape(-1, width), lam, pad_value,
              out=canvas.reshape(-1, width))
        return canvas
    for plane1, plane2, out in zip(planes1, planes2, canvas, strict=True):
        blend(plane1, plane2, lam, pad_value, out=out)
    return canvas


def blended(first: np.ndarray, second: np.ndarray, lam: float, pad_value: float) -> np.ndarray:
    """Two images of one kind on their canvas, laid out channel by channel where they have channels.

    Args:
        first: ``(h, w)`` or ``(h, w, channels)``, uint8 or float32.
        second: The same.
        lam: Share of the first.
        pad_value: Grey level of uncovered parts.
    """
    if first.ndim != 3:
        return blend(first, second, lam, pad_value)
    one, other = (planar_image(image).transpose(2, 0, 1) for image in (first, second))
    return blend_planes(one, other, lam, pad_value).transpose(1, 2, 0)


def _copy(value: Any) -> Any:
    """A copy of arrays, boxes or masks that shares no memory with them."""
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.clone() if hasattr(value, 'clone') else copy.deepcopy(value)


def box_values(sample: Mapping[str, Any], canvas: tuple[int, ...]) -> dict[str, Any]:
    """A sample's values per box, as `concat_annotations` takes them; masks on their canvas.

    Args:
        sample: The sample.
        canvas: (h, w) of the blend.
    """
    found = {name: sample[key] for key, name in BOX_KEYS.items() if sample.get(key) is not None}
    if 'masks' in found:
        found['masks'] = padded(found['masks'], canvas)
    return found


def padded(masks: Any, shape: tuple[int, ...]) -> Any:
    """The masks on a canvas of a shape, sharing no memory with them."""
    on_canvas = masks.pad(shape)
    return _copy(on_canvas) if isinstance(on_canvas.masks, list) else on_canvas


def num_bytes(sample: dict[str, Any]) -> int:
    """The memory of a sample's arrays, boxes and masks, in bytes."""
    return sum(_size(value) for key, value in sample.items() if key not in ('kind', 'identity'))


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, (list, tuple)):
        return sum(_size(item) for item in value)
    inner = getattr(value, 'masks', None)
    if inner is None:
        inner = getattr(value, 'tensor', None)
        return 0 if inner is None else inner.numel() * inner.element_size()
    return _size(inner)


class SampleCache:
    """The latest samples, bounded in number and in memory; the oldest goes first.

    Args:
        max_samples: At most so many.
        max_bytes: At most so much memory, but the latest sample stays whatever its size.
    """

    def __init__(self, max_samples: int, max_bytes: int) -> None:
        self.max_samples = max_samples
        self.max_bytes = max_bytes
        self.bytes = 0
        self._overflowed = False
        self._samples: collections.deque[tuple[dict[str, Any], int]] = collections.deque()

    def append(self, sample: dict[str, Any]) -> int:
        """Takes a sample in; returns its bytes."""
        size = num_bytes(sample)
        self._samples.append((sample, size))
        self.bytes += size
        while len(self) > self.max_samples or (len(self) > 1 and self.bytes > self.max_bytes):
            self.bytes -= self._samples.popleft()[1]
            self._overflowed = True
        return size

    @property
    def fill(self) -> float:
        """How full it is, in [0, 1]; 1 for good once a sample had to go."""
        return 1.0 if self._overflowed else len(self) / self.max_samples

    def clear(self) -> None:
        """Lets every sample go."""
        self._samples.clear()
        self.bytes = 0
        self._overflowed = False

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (sample for sample, _ in self._samples)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self._samples[place][0]
