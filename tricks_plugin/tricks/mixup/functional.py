"""Mixup's mathematics: blending two images, joining their annotations, weighting their losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

try:
    import cv2
except ImportError:
    cv2 = None  # type: ignore[assignment]

from .batch import draw_lam, mixup_batch
from .layout import contiguous_image, planar_image

__all__ = ['blend', 'box_weights', 'concat_annotations', 'contiguous_image', 'draw_lam',
           'element_weights', 'mixup_batch', 'planar_image']


def blend(image1: np.ndarray, image2: np.ndarray, lam: float, pad_value: float = 0.0,
          out: np.ndarray | None = None) -> np.ndarray:
    """Blends two images, each with its own geometry, aligned at the top left.

    The canvas has the larger height and the larger width. What an image does not cover counts as
    ``pad_value`` in it, so a pixel of the first image alone is ``lam * pixel + (1 - lam) * pad``.

    Args:
        image1: ``(h1, w1)`` or ``(h1, w1, channels)``, uint8 or float32.
        image2: The same kind: equal dtype, and equal number of channels.
        lam: Share of the first image in [0, 1]. 1 gives the first image on the canvas, 0 the
            second.
        pad_value: Grey level of uncovered parts; 0 to 255 for uint8.
        out: A canvas to write into; a new one by default. It may not overlap the images.

    Returns:
        The canvas ``(max(h1, h2), max(w1, w2)[, channels])``, of the images' dtype, C-contiguous.
        float32 is computed in float32; uint8 lies at most one grey level from the exact value.
        Where both images are equal, so is the canvas, to the float's last digit.

    Raises:
        TypeError: If an image is no NumPy array (`mixup_batch` mixes tensors), or the dtypes differ
            or are neither uint8 nor float32.
        ValueError: If the channels differ, or ``lam``, ``pad_value`` or ``out`` does not fit.

    Example:
        >>> small, large = np.full((1, 2), 100, np.uint8), np.full((2, 3), 200, np.uint8)
        >>> blend(small, large, lam=0.25).tolist()
        [[175, 175, 150], [150, 150, 150]]

    Source: arXiv 1902.04103 section 3.1; gluon-cv ``gluoncv/data/mixup/detection.py``, which
    computes in float32 and truncates to uint8, where this function rounds to the nearest.
    """
    _check_pair(image1, image2, lam, pad_value)
    (h1, w1), (h2, w2) = image1.shape[:2], image2.shape[:2]
    shape = (max(h1, h2), max(w1, w2), *image1.shape[2:])
    canvas = np.empty(shape, image1.dtype) if out is None else _check_out(out, shape, image1.dtype)
    # One row is one line of numbers, whatever the channels: the regions become 2-D.
    depth = math.prod(shape[2:])
    rows = canvas.reshape(shape[0], -1)
    first = contiguous_image(image1).reshape(h1, -1)
    second = contiguous_image(image2).reshape(h2, -1)
    h, w = min(h1, h2), min(w1, w2) * depth
    _sum(first[:h, :w], lam, second[:h, :w], 1.0 - lam, rows[:h, :w])
    if rows.shape == (h, w):
        return canvas
    wide, wide_share = (first, lam) if w1 >= w2 else (second, 1.0 - lam)
    tall, tall_share = (first, lam) if h1 >= h2 else (second, 1.0 - lam)
    reach = tall.shape[1]
    _scale(wide[:h, w:], wide_share, (1.0 - wide_share) * pad_value, rows[:h, w:])
    _scale(tall[h:, :], tall_share, (1.0 - tall_share) * pad_value, rows[h:, :reach])
    rows[h:, reach:] = np.rint(pad_value) if canvas.dtype == np.uint8 else pad_value
    return canvas


def _check_pair(image1: np.ndarray, image2: np.ndarray, lam: float, pad_value: float) -> None:
    for image in (image1, image2):
        if not isinstance(image, np.ndarray):
            raise TypeError('both images must be NumPy arrays of shape (h, w) or (h, w, channels), '
                            f'got {type(image).__module__}.{type(image).__name__}; for a batch of '
                            'tensors there is mixup_batch')
    if image1.dtype != image2.dtype or image1.dtype not in (np.uint8, np.float32):
        raise TypeError('both images must be uint8 or both float32, '
                        f'got {image1.dtype} and {image2.dtype}')
    if image1.ndim not in (2, 3) or image1.shape[2:] != image2.shape[2:]:
        raise ValueError('the images must be (h, w) or (h, w, channels) with equal channels, '
                         f'got shapes {image1.shape} and {image2.shape}')
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f'lam must be in [0, 1], got {lam!r}')
    if image1.dtype == np.uint8 and not 0.0 <= pad_value <= 255.0:
        raise ValueError(f'pad_value must be in [0, 255] for uint8 images, got {pad_value!r}')


def _check_out(out: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(f'out must be a C-contiguous {np.dtype(dtype)} array of shape {shape}, '
                         f'got {out.dtype} of shape {out.shape}')
    return out


def _sum(a: np.ndarray, share_a: float, b: np.ndarray, share_b: float, out: np.ndarray) -> None:
    """Writes ``share_a * a + share_b * b`` into a 2-D view."""
    if not out.size:
        return
    if cv2 is not None:
        cv2.addWeighted(a, share_a, b, share_b, 0.0, dst=out)
        return
    exact = np.multiply(a, np.float32(share_a), dtype=np.float32)
    exact += np.multiply(b, np.float32(share_b), dtype=np.float32)
    out[...] = np.rint(exact) if out.dtype == np.uint8 else exact


def _scale(a: np.ndarray, share: float, offset: float, out: np.ndarray) -> None:
    """Writes ``share * a + offset`` into a 2-D view; the offset of uint8 is not negative."""
    if not out.size:
        return
    if cv2 is not None and out.dtype == np.uint8:
        cv2.convertScaleAbs(a, dst=out, alpha=share, beta=offset)
        return
    if out.dtype == np.float32:
        np.multiply(a, np.float32(share), out=out)
        if offset:
            out += np.float32(offset)
        return
    exact = np.multiply(a, np.float32(share), dtype=np.float32)
    exact += np.float32(offset)
    out[...] = np.rint(exact)


def box_weights(num_first: int, num_second: int, lam: float) -> np.ndarray:
    """Each box's weight: ``lam`` for the first image's, ``1 - lam`` for the second's.

    Args:
        num_first: Boxes of the first image.
        num_second: Boxes of the second image.
        lam: Share of the first image in [0, 1].

    Returns:
        float32 ``(num_first + num_second,)``, first image first.

    Example:
        >>> box_weights(1, 2, lam=0.75).tolist()
        [0.75, 0.25, 0.25]

    Source: arXiv 1902.04103 section 3.1.
    """
    return np.repeat(np.array([lam, 1.0 - lam], np.float32), [num_first, num_second])


def concat_annotations(first: Mapping[str, Any], second: Mapping[str, Any],
                       lam: float) -> dict[str, Any]:
    """Joins two images' annotations, nothing moved, and gives each box its weight.

    Args:
        first: Per-box values of the first image by name: arrays or tensors whose first axis
            counts boxes, or objects whose class has ``cat(sequence)`` (mmdet's boxes and masks).
            ``weights``, if there, are the boxes' weights so far (1 by default).
        second: The same names for the second image.
        lam: Share of the first image in [0, 1].

    Returns:
        The joined values, the first image's boxes first, and ``weights``, float32
        ``(num_boxes,)``: the weights so far times ``lam`` or ``1 - lam``; a tensor where a value is
        one, on its device.

    Raises:
        ValueError: If the names differ, or the values of one image differ in length.

    Example:
        >>> first, second = {'labels': np.array([3])}, {'labels': np.array([5, 7])}
        >>> joined = concat_annotations(first, second, lam=0.75)
        >>> joined['labels'].tolist(), joined['weights'].tolist()
        ([3, 5, 7], [0.75, 0.25, 0.25])

    Source: arXiv 1902.04103 section 3.1.
    """
    names = [name for name in first if name != 'weights']
    if set(names) != set(second) - {'weights'}:
        raise ValueError('both images must have the same annotations, '
                         f'got {sorted(first)} and {sorted(second)}')
    counts = []
    for part in (first, second):
        lengths = {name: len(value) for name, value in part.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"one image's annotations must have equal length, got {lengths}")
        counts.append(next(iter(lengths.values()), 0))
    joined = {name: _cat(first[name], second[name]) for name in names}
    so_far = [_weights_so_far(part, count)
              for part, count in zip((first, second), counts, strict=True)]
    weights = np.concatenate(so_far) * box_weights(counts[0], counts[1], lam)
    tensor = next((value for value in joined.values() if isinstance(value, torch.Tensor)), None)
    joined['weights'] = weights if tensor is None else torch.from_numpy(weights).to(tensor.device)
    return joined


def _weights_so_far(part: Mapping[str, Any], count: int) -> np.ndarray:
    own = part.get('weights')
    if own is None:
        return np.ones(count, np.float32)
    return np.asarray(own.cpu() if isinstance(own, torch.Tensor) else own, np.float32)


def _cat(first: Any, second: Any) -> Any:
    if isinstance(first, torch.Tensor):
        return torch.cat([first, second])
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    return type(first).cat([first, second])


def element_weights(num_elements: int, pos_inds: Sequence[torch.Tensor],
                    pos_gt_inds: Sequence[torch.Tensor],
                    weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """What each element of a loss is multiplied by: its box's weight, or 1 for background.

    Args:
        num_elements: Predictions (anchors, points) per image.
        pos_inds: Per image, the indices of the positive predictions, int64 ``(num_pos,)``.
        pos_gt_inds: Per image, the box each positive is assigned to, integer ``(num_pos,)``.
        weights: Per image, the boxes' weights, ``(num_boxes,)``.

    Returns:
        ``(num_images, num_elements)``, of the weights' dtype and device.

    Example:
        >>> positives, boxes = [torch.tensor([0, 3])], [torch.tensor([1, 0])]
        >>> element_weights(4, positives, boxes, [torch.tensor([0.75, 0.25])]).tolist()
        [[0.25, 1.0, 1.0, 0.75]]

    Source: arXiv 1902.04103 section 3.1; gluon-cv ``gluoncv/loss.py`` (YOLOV3Loss) multiplies
    the objectness, centre, scale and class losses of a positive by the box's ratio.
    """
    elements = weights[0].new_ones((len(weights), num_elements))
    rows = zip(elements, pos_inds, pos_gt_inds, weights, strict=True)
    for row, positives, boxes, weight in rows:
        row[positives] = weight[boxes.long()]
    return elements
