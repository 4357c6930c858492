"""Changing the scale at which a config trains, what allows one size only, and the test scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...mm.canvas import Canvas
from ...mm.config_edit import get, type_name, walk
from ...mm.ending import Ending

__all__ = ['anchor_obstacle', 'has_tail', 'home_words', 'replace_resize', 'standing_in', 'unlike']


def unlike(trained: Sequence[Canvas], tested: Canvas) -> str:
    """Why no one ratio turns the images of a training into those of its test; empty if one does.

    A square says how long the long side of an image becomes, and any other scale how long the
    short one: how they compare depends on each image's aspect.

    Args:
        trained: The scales of the training pipelines.
        tested: That of the test.
    """
    for canvas in trained:
        if _is_square(canvas) != _is_square(tested):
            first, second = ('a square', 'none') if _is_square(canvas) else ('none', 'a square')
            return (f"the training's scale of {_words(canvas)} is {first} and the test's of "
                    f'{_words(tested)} is {second}, so that no one ratio brings every image from '
                    'the first to the second')
    return ''


def _is_square(canvas: Canvas) -> bool:
    return canvas.size[0] == canvas.size[1] and canvas.reason != 'ResizeShortestEdge'


def _words(canvas: Canvas) -> str:
    width, height = canvas.size
    edge = canvas.reason == 'ResizeShortestEdge'
    return f'{height} px for the short side' if edge else f'{width} x {height} px'


def standing_in(sizes: Sequence[int], exact: int, divisor: int, below: bool = False) -> list[int]:
    """Sizes with an exact one, which is no multiple, in the place of the multiple above it.

    Batches of the two have the same shape, padding and all.

    Args:
        sizes: Ascending multiples of the divisor, in px.
        exact: A size at which images arrive or are tested, in px.
        divisor: What the sides of batches are multiples of.
        below: Whether it takes the place of the multiple below where that above is none of them.

    Example:
        >>> standing_in([576, 608, 640], 600, 32), standing_in([480, 512], 520, 32, below=True)
        ([576, 600, 640], [480, 520])
    """
    places = [-(-exact // divisor) * divisor, *([exact // divisor * divisor] if below else [])]
    place = next((one for one in places if one in sizes and exact not in sizes), None)
    return [exact if size == place else size for size in sizes]


def replace_resize(canvas: Canvas, size: tuple[int, int], scope: str) -> None:
    """Makes the deciding step resize to one size, in place; its other settings stay."""
    step = canvas.step
    if step is None:
        raise ValueError(f'{canvas.reason} decides about the canvas, which no resize can change')
    if not canvas.varies:
        step['scale'] = size
        return
    kind = step.get('resize_type') or ('mmdet.Resize' if scope == 'mmdet' else 'Resize')
    drop = ('type', 'scale', 'scales', 'ratio_range', 'resize_type')
    rest = {key: value for key, value in step.items() if key not in drop}
    step.clear()
    step.update(type=kind, scale=size, **rest)


def has_tail(ending: Ending) -> bool:
    """Whether the training has a tail at the test scale, as far as the config tells."""
    times = ending.phases
    return times.ends if times is not None else \
        bool(ending.fraction if ending.epochs is None else ending.epochs)


def home_words(share: float, home: int, sizes: list[int], what: str, ending: Ending) -> str:
    """What is at the test scale, and when.

    Args:
        share: Of the draws, where the scale is one of the sizes.
        home: The test scale, in px.
        sizes: Those that are drawn, in px.
        what: The test scale, in words that begin with "at".
        ending: Of the draws.
    """
    words = []
    if home in sizes and share:
        words.append(f'{"half" if share == 0.5 else f"{share:g}"} of the draws')
    times = ending.phases
    if times is not None and times.ends:
        words.append(f'all from {times.unit} {times.off_from} of {times.total} on, counted from '
                     '0,' + (f' with {ending.beside},' if ending.beside else ''))
    elif has_tail(ending):
        last = f'{ending.epochs} epochs{ending.doubt}' if ending.epochs else f'{ending.fraction:g}'
        words.append(f'all of the last {last}')
    return f'{" and ".join(words)} {what}' if words else 'all are drawn alike to the end'


def anchor_obstacle(model: dict[str, Any]) -> str:
    """Why a model's anchors allow one input size only, or an empty string."""
    for path, node in _generators(model):
        if type_name(node) == 'SSDAnchorGenerator':
            return f'{path} is SSDAnchorGenerator, whose anchors are laid out for one input size'
        for stride in _flat(node.get('strides')):
            if stride <= 0 or int(stride) != stride or int(stride) & (int(stride) - 1):
                return (f'{path}.strides holds {stride:g}, no power of two: its anchors are laid '
                        'out for one input size')
    return ''


def _generators(model: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, node in walk(model, 'model'):
        for key in ('anchor_generator', 'prior_generator'):
            item = get(node, key)
            if isinstance(item, dict):
                yield f'{path}.{key}', item


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value
