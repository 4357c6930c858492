"""Which part of a padded batch is image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ['Shape', 'contents_of', 'extent']

Shape = tuple[int, int]


def contents_of(samples: Sequence[Any], canvas: Shape) -> list[Shape]:
    """The (h, w) of each image in a batch without its padding; the canvas where none is said.

    Args:
        samples: Data samples, whose ``img_shape`` it is.
        canvas: The batch's (h, w).
    """
    shapes = [tuple(sample.metainfo.get('img_shape') or canvas)[:2] for sample in samples]
    return [(min(int(height), canvas[0]), min(int(width), canvas[1])) for height, width in shapes]


def extent(contents: Iterable[Shape], canvas: Shape, divisor: int) -> Shape:
    """The (h, w) of a batch without the padding that its images need to be multiples.

    A side that is padded further (by mmdet's BatchFixedSizePad) counts whole: that is wanted.

    Args:
        contents: The (h, w) of its images, one or more.
        canvas: Its own.
        divisor: What sides are padded to multiples of.
    """
    height, width = (
        largest if whole <= -(-largest // divisor) * divisor else whole
        for largest, whole in zip(map(max, zip(*contents, strict=True)), canvas, strict=True))
    return height, width
