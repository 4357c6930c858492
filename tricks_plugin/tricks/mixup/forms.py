"""The forms that a sample's values come in: told for images, joined box by box, or blended."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData

from .functional import blend
from .sample import padded

__all__ = ['at', 'blend_maps', 'image_shape', 'is_image', 'join', 'leaves', 'put']

Shape = tuple[int, ...]

_LOOKED = 8  # items of a list: more tell nothing new
_MAP = 16  # px: an unknown array of two such sides is taken for an image or a map
_ARRAYS = (np.ndarray, torch.Tensor)


def leaves(key: str, value: Any, settled: Collection[str]) -> Iterator[tuple[str, Any]]:
    """A value by its name, and what a dict holds by names with dots; without the settled names."""
    if key in settled:
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from leaves(f'{key}.{name}', item, settled)
    else:
        yield key, value


def at(sample: Mapping[str, Any], path: str) -> Any:
    """The value of a name, which may have dots for what lies in dicts; None where it is not."""
    if path in sample:
        return sample[path]
    key, _, rest = path.partition('.')
    inner = sample.get(key)
    return at(inner, rest) if rest and isinstance(inner, Mapping) else None


def put(sample: dict[str, Any], path: str, value: Any) -> None:
    """Sets the value of such a name; the dicts on the way become copies."""
    key, _, rest = path.partition('.')
    if path in sample or not rest:
        sample[path] = value
        return
    sample[key] = dict(sample[key])
    put(sample[key], rest, value)


def image_shape(value: Any, shape: Shape, boxes: int) -> Shape | None:
    """The (h, w) of a value that is another image or map, or a list of some; None if it is not.

    Args:
        value: Any.
        shape: (h, w) of the sample's image. Two neighbouring sides of an array that equal it are
            an image's, whatever its size; other images are told by 16 px or more.
        boxes: How many the sample has: an array of so many rows is none of the others.
    """
    if isinstance(value, (list, tuple)):
        found = (image_shape(item, shape, boxes) for item in value[:_LOOKED]
                 if not isinstance(item, (int, float, str)))
        return next((one for one in found if one), None)
    if isinstance(value, PixelData):
        return tuple(value.shape or ()) or None
    if hasattr(value, 'getpixel'):  # of Pillow
        return (value.size[1], value.size[0])
    if not isinstance(value, _ARRAYS) or value.ndim < 2:
        return None
    pairs = [tuple(value.shape[place:place + 2]) for place in range(value.ndim - 1)]
    least = _MAP if len(value) != boxes else math.inf
    return next((pair for pair in pairs if pair == shape), None) or \
        next((pair for pair in pairs if min(pair) >= least), None)


def is_image(value: Any, shape: Shape) -> bool:
    """Whether a value is an array of an image's height and width, or a list of such.

    Channels come last or first.
    """
    if isinstance(value, (list, tuple)):
        return bool(value) and all(is_image(item, shape) for item in value)
    return isinstance(value, _ARRAYS) and value.ndim >= 2 and \
        shape in (tuple(value.shape[:2]), tuple(value.shape[-2:]))


def join(values: Sequence[Any], shapes: Sequence[Shape], canvas: Shape) -> Any:
    """Images' values per box, one after the other, in the form of the first.

    Masks, and arrays of one map for each box, lie on the canvas.

    Args:
        values: One for each image.
        shapes: (h, w) of the images.
        canvas: (h, w) of the blended image.
    """
    first = values[0]
    if isinstance(first, Mapping):
        return {key: join([value[key] for value in values], shapes, canvas) for key in first}
    if hasattr(first, 'masks') and hasattr(first, 'pad'):
        return type(first).cat([padded(value, canvas) for value in values])
    if isinstance(first, np.ndarray):
        return np.concatenate([_on_canvas(np.asarray(value), shape, canvas, 3)
                               for value, shape in zip(values, shapes, strict=True)])
    if isinstance(first, torch.Tensor):
        return torch.cat([_on_canvas(torch.as_tensor(value, device=first.device), shape, canvas, 3)
                          for value, shape in zip(values, shapes, strict=True)])
    if hasattr(type(first), 'cat'):
        return type(first).cat(list(values))
    return type(first)([_on_canvas(item, shape, canvas, 2)
                        for value, shape in zip(values, shapes, strict=True) for item in value])


def _on_canvas(value: Any, shape: Shape, canvas: Shape, least: int) -> Any:
    """Maps ``(..., h, w)`` of an image on a larger canvas, zero outside; others as they are.

    Maps have ``least`` axes or more.
    """
    if not isinstance(value, _ARRAYS) or value.ndim < least or shape == canvas or \
            tuple(value.shape[-2:]) != shape:
        return value
    new = (*value.shape[:-2], *canvas)
    whole: Any = value.new_zeros(new) if isinstance(value, torch.Tensor) else \
        np.zeros(new, value.dtype)
    whole[..., :shape[0], :shape[1]] = value
    return whole


def blend_maps(first: Any, second: Any, lam: float, canvas: Shape) -> Any:
    """Two images' maps blended as the images are, on zeros; in the form and type of the first.

    Whole numbers are rounded to the nearest.

    Args:
        first: Of the first image: an array, or a list of some.
        second: Of the second.
        lam: The share of the first.
        canvas: (h, w) of the blended image.
    """
    if isinstance(first, (list, tuple)):
        return type(first)([blend_maps(one, other, lam, canvas)
                            for one, other in zip(first, second, strict=True)])
    sides = [side.numpy() if isinstance(side, torch.Tensor) else side for side in (first, second)]
    last = sides[0].ndim > 2 and _fits_first(sides, canvas)
    if last:
        sides = [np.moveaxis(side, (-2, -1), (0, 1)) for side in sides]
    kind = sides[0].dtype
    same = np.uint8 if all(side.dtype == np.uint8 for side in sides) else np.float32
    # `blend` takes one axis of channels at the most.
    rest = sides[0].shape[2:]
    flat = [np.ascontiguousarray(side.reshape(*side.shape[:2], math.prod(rest)), same)
            if len(rest) > 1 else np.ascontiguousarray(side, same) for side in sides]
    mixed = blend(flat[0], flat[1], lam)
    mixed = mixed.reshape(*mixed.shape[:2], *rest)
    mixed = (np.rint(mixed) if kind.kind in 'iub' and same == np.float32 else mixed).astype(kind)
    if last:
        mixed = np.ascontiguousarray(np.moveaxis(mixed, (0, 1), (-2, -1)))
    return torch.from_numpy(mixed) if isinstance(first, torch.Tensor) else mixed


def _fits_first(sides: list[Any], canvas: Shape) -> bool:
    """Whether channels come first: then the last two axes span the canvas together."""
    first = tuple(max(side.shape[axis] for side in sides) for axis in (0, 1))
    return first != canvas
