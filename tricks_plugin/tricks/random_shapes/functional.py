"""Random shapes' mathematics: which sizes, which one now, and what becomes of images and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['MIN_TRAINING_SIZE', 'draw_size', 'nearest_index', 'padded_shape', 'rescale_boxes',
           'resize_contents', 'resize_images', 'scaled_length', 'target_shape', 'training_sizes']

MIN_TRAINING_SIZE = 64  # px; two cells of a stride-32 feature map
SIDES = ('short', 'long')
MIN_SIZE = MIN_TRAINING_SIZE  # short, as the modules of this room say it


def training_sizes(base: int, ratio_range: Sequence[float], divisor: int = 32) -> list[int]:
    """The sizes that a range of ratios stands for: every multiple of the divisor in it.

    Args:
        base: Short side of the config's own scale, in px.
        ratio_range: ``(low, high)``, as shares of ``base``; both ends are rounded to the nearest
            multiple.
        divisor: What every size is a multiple of.

    Returns:
        Ascending sizes in px, none below 64. Empty if the range lies below 64.

    Raises:
        ValueError: If the range is not two numbers with ``0 < low <= high``, or ``base`` or
            ``divisor`` is not above 0.

    Example:
        >>> training_sizes(416, (0.8, 1.0))
        [320, 352, 384, 416]

    Source: arXiv 1902.04103 section 3.6: 320 to 608 by 32.
    """
    if len(ratio_range) != 2 or not 0 < ratio_range[0] <= ratio_range[1]:
        raise ValueError(f'ratio_range must be (low, high) with 0 < low <= high, '
                         f'got {ratio_range!r}')
    if base <= 0 or divisor <= 0:
        raise ValueError(f'base and divisor must be > 0, got {base!r} and {divisor!r}')
    low, high = (int(ratio * base / divisor + 0.5) for ratio in ratio_range)
    least = max(low, -(-MIN_TRAINING_SIZE // divisor))
    return list(range(least * divisor, high * divisor + 1, divisor))


def draw_size(seed: int, iteration: int, sizes: Sequence[int], interval: int = 10,
              home: int | None = None, share: float = 0.5) -> int:
    """The size of an iteration, from the seed and the iteration alone.

    Processes that call it with the same arguments get the same size, with nothing to exchange,
    and a resumed run gets what the uninterrupted one would have got. NumPy guarantees that a
    SeedSequence yields the same numbers in every version and on every platform.

    Args:
        seed: Any integer, the same in all processes.
        iteration: Counted from 0 over the whole training.
        sizes: What to draw from, uniformly.
        interval: Iterations that share a size.
        home: The size at which the model will be tested, if it is to be drawn more often.
        share: Share of the draws at ``home``, in [0, 1); the others are drawn from the other
            sizes. 0 draws ``home`` as often as any.

    Returns:
        The largest size in the first interval, so that the memory need shows at once; afterwards
        one of ``sizes``, or ``home``.

    Raises:
        ValueError: If ``sizes`` is empty, ``interval`` below 1 or ``iteration`` below 0.

    Example:
        >>> sizes = training_sizes(608, (320 / 608, 1.0))
        >>> [draw_size(seed=42, iteration=i, sizes=sizes) for i in (0, 9, 10, 20)]
        [608, 608, 512, 448]
        >>> [draw_size(42, i, sizes, interval=1, home=416) for i in range(1, 9)]
        [416, 416, 416, 480, 320, 416, 416, 416]
    """
    if not sizes or interval < 1 or iteration < 0:
        raise ValueError('sizes must not be empty, interval must be >= 1 and iteration >= 0, got '
                         f'{sizes!r}, {interval!r} and {iteration!r}')
    step = iteration // interval
    if step == 0:
        return max(sizes)
    number, chance = (int(one) for one in np.random.SeedSequence(
        (seed % 2**64, step)).generate_state(2, np.uint64))
    if home is not None and share > 0:
        others = [size for size in sizes if size != home]
        if chance < share * 2**64 or not others:
            return home
        return others[number % len(others)]
    return sizes[number % len(sizes)]


def target_shape(shape: Sequence[int], ratio: float, divisor: int = 32,
                 side: str = 'short') -> tuple[int, int]:
    """The shape nearest to a share of another whose sides are multiples of the divisor.

    One side goes to the multiple nearest to ``ratio * side``; the other to the multiple nearest to
    what keeps the aspect with it. So the aspect is off by half a divisor in the other side at
    most. Halves are rounded up. For images that are stretched to it whole; `padded_shape` is the
    rule of images whose aspect is kept.

    Args:
        shape: ``(h, w)`` in px.
        ratio: Share of it. 1 gives the shape itself if its sides are multiples.
        divisor: What both sides become multiples of.
        side: ``'short'`` or ``'long'``: the side that comes first. Where images are fitted into a
            square, their long sides are equal and their short ones are not.

    Returns:
        ``(h, w)``, each at least the divisor.

    Example:
        >>> target_shape((800, 1344), ratio=0.52)
        (416, 704)
        >>> [target_shape((96, 192), 160 / 192, side=side) for side in ('short', 'long')]
        [(96, 192), (96, 160)]
    """
    lead, other = (min(shape), max(shape)) if side == 'short' else (max(shape), min(shape))
    new = max(int(ratio * lead / divisor + 0.5), 1) * divisor
    rest = max((2 * other * new + divisor * lead) // (2 * divisor * lead), 1) * divisor
    first = (shape[0] <= shape[1]) == (side == 'short')  # whether the height leads
    return (new, rest) if first else (rest, new)


def padded_shape(shape: Sequence[int], size: int, base: int,
                 divisor: int = 32) -> tuple[int, int]:
    """The shape of a batch whose images all take one ratio, and are then padded.

    Each side takes the ratio, is rounded as in `scaled_length`, and goes up to a multiple: as a
    resize with its aspect kept and mmdet's data preprocessor after it have it in a test. A larger
    size gives no smaller side.

    Args:
        shape: ``(h, w)`` of the images without padding, in px: the largest of each.
        size: New length of a side that was ``base`` long.
        base: Such a length, in px.
        divisor: What both sides become multiples of.

    Example:
        >>> padded_shape((192, 256), size=192, base=256)  # of 144 x 192
        (160, 192)
    """
    height, width = (-(-max(scaled_length(length, base, size), 1) // divisor) * divisor
                     for length in shape)
    return height, width


def scaled_length(length: int, old: int, new: int) -> int:
    """A length after a side of ``old`` px has become one of ``new`` px, rounded half up.

    Monotonic, and ``old`` becomes ``new``: what lay inside the side still does.

    Example:
        >>> scaled_length(101, old=160, new=128)
        81
    """
    return (2 * length * new + old) // (2 * old)


def nearest_index(length: int, old: int, new: int, device: Any = None) -> Tensor:
    """For each pixel of a scaled map the source pixel below its centre, without interpolation.

    Args:
        length: Pixels of the map along the side before; at most ``old`` where it is padded to it.
        old: The canvas's side before.
        new: The canvas's side after.
        device: Where the result lies.

    Returns:
        int64 of shape ``(scaled_length(length, old, new),)``, each in [0, length).

    Example:
        >>> nearest_index(5, old=5, new=4).tolist()
        [0, 1, 3, 4]
    """
    centres = 2 * torch.arange(scaled_length(length, old, new), device=device) + 1
    index = torch.div(centres * old, 2 * new, rounding_mode='floor')
    return index.clamp_(max=max(length - 1, 0))


def resize_images(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Resizes a batch bilinearly, antialiased where it shrinks.

    Args:
        images: ``(n, channels, h, w)``, floating point. Not changed.
        shape: ``(h, w)`` after.

    Returns:
        The batch in its dtype; the very same tensor if it has the shape already.

    Raises:
        TypeError: If the images are not floating point.

    Example:
        >>> resize_images(torch.ones(2, 3, 64, 96), (32, 48)).shape
        torch.Size([2, 3, 32, 48])
    """
    if not images.is_floating_point():
        raise TypeError(f'images must be floating point, got {images.dtype}')
    old, new = tuple(images.shape[-2:]), tuple(shape)
    if old == new:
        return images
    shrinks = new[0] < old[0] or new[1] < old[1]
    exact = images if images.dtype in (torch.float32, torch.float64) else images.float()
    return F.interpolate(exact, size=new, mode='bilinear', align_corners=False,
                         antialias=shrinks).to(images.dtype)


def resize_contents(images: Tensor, old: Sequence[Sequence[int]], new: Sequence[Sequence[int]],
                    shape: Sequence[int], pad_value: float = 0.0) -> Tensor:
    """Resizes each image of a padded batch without its padding, and pads anew.

    So no padding is blended into the last pixels of an image.

    Args:
        images: ``(n, channels, h, w)``, floating point, each image at the top left. Not changed.
        old: ``(h, w)`` of each image in it.
        new: The same after.
        shape: ``(h, w)`` of the batch after.
        pad_value: What fills the rest.

    Returns:
        The batch in its dtype; the very same tensor if it stays as it is.

    Raises:
        TypeError: If the images are not floating point.

    Example:
        >>> resize_contents(torch.ones(1, 1, 2, 4), [(2, 3)], [(4, 6)], (4, 8))[0, 0, 0].tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    before, after, whole = ([tuple(one) for one in old], [tuple(one) for one in new], tuple(shape))
    if before == after and tuple(images.shape[-2:]) == whole:
        return images
    groups: dict[tuple[Any, Any], list[int]] = {}
    for index, pair in enumerate(zip(before, after, strict=True)):
        groups.setdefault(pair, []).append(index)
    if len(groups) == 1:
        (height, width), goal = before[0], after[0]
        content = resize_images(images[..., :height, :width], goal)
        return content if goal == whole else F.pad(
            content, (0, whole[1] - goal[1], 0, whole[0] - goal[0]), value=pad_value)
    batch = images.new_full((*images.shape[:2], *whole), pad_value)
    for ((height, width), goal), members in groups.items():
        content = resize_images(images[members, :, :height, :width], goal)
        batch[members, :, :goal[0], :goal[1]] = content
    return batch


def rescale_boxes(boxes: Tensor, x_factor: float, y_factor: float) -> Tensor:
    """Boxes of an image whose width and height are multiplied.

    Args:
        boxes: ``(..., 4)`` as x1, y1, x2, y2. Not changed. An empty tensor is returned as it is.
        x_factor: New width through old width.
        y_factor: New height through old height.

    Returns:
        New boxes of the same shape and dtype.

    Raises:
        ValueError: If the last dimension is not 4.

    Example:
        >>> rescale_boxes(torch.tensor([[10.0, 20.0, 30.0, 60.0]]), 0.5, 1.25).tolist()
        [[5.0, 25.0, 15.0, 75.0]]
    """
    if not boxes.numel():
        return boxes
    if boxes.shape[-1] != 4:
        raise ValueError(f'boxes must have 4 numbers each, got shape {tuple(boxes.shape)}')
    boxes = boxes.clone()
    boxes[..., 0::2] *= x_factor
    boxes[..., 1::2] *= y_factor
    return boxes
