"""Names of ResNet weights in different code bases, and what the variants cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import torch

__all__ = ['match_resnet_keys', 'resnet_multiply_adds', 'unmatched_keys']

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
           152: (3, 8, 36, 3)}
_STEM = re.compile(r'stem\.(\d)\.(conv|bn)\.(.+)')
_DOWNSAMPLE = re.compile(r'(layer\d+\.\d+)\.downsample\.(\d+)\.(.+)')


def match_resnet_keys(
    state: Mapping[str, torch.Tensor], wanted: Iterable[str],
) -> dict[str, torch.Tensor]:
    """Renames the weights of a ResNet-C or -D to the names of another code base.

    mmdet's deep stem is one flat sequence (``stem.0`` convolution, ``stem.1`` norm, ``stem.3``
    convolution, ...), mmpretrain's a sequence of three modules (``stem.0.conv``, ``stem.0.bn``,
    ``stem.1.conv``, ...). In the shortcut of a block mmdet's ResNet-D has its pool in every
    stage, mmpretrain's only where the stride is 2, so that the first stage counts differently. A
    model with mmpretrain's own names keeps those of its stem.

    Args:
        state: A backbone's weights by name, without prefix.
        wanted: The names that the model has.

    Returns:
        The weights, all of them, under the model's names as far as these two rules tell.

    Example:
        >>> list(match_resnet_keys({'stem.1.conv.weight': torch.zeros(1)}, ['stem.3.weight']))
        ['stem.3.weight']

    Source: mmdet/models/backbones/resnet.py and mmdet/models/layers/res_layer.py beside
    mmpretrain/models/backbones/resnet.py.
    """
    flat, wanted = {}, list(wanted)
    nested = any(_STEM.fullmatch(name) for name in wanted)
    for name, value in state.items():
        stem = _STEM.fullmatch(name)
        if stem and not nested:
            index = 3 * int(stem[1]) + (stem[2] == 'bn')
            name = f'stem.{index}.{stem[3]}'
        flat[name] = value
    here, there = _first_downsample(flat), _first_downsample(wanted)
    renamed = {}
    for name, value in flat.items():
        found = _DOWNSAMPLE.fullmatch(name)
        if found and found[1] in there:
            index = int(found[2]) + there[found[1]] - here[found[1]]
            name = f'{found[1]}.downsample.{index}.{found[3]}'
        renamed[name] = value
    return renamed


def _first_downsample(names: Iterable[str]) -> dict[str, int]:
    """The index of the shortcut's convolution, by block."""
    first: dict[str, int] = {}
    for name in names:
        found = _DOWNSAMPLE.fullmatch(name)
        if found:
            first[found[1]] = min(first.get(found[1], 99), int(found[2]))
    return first


def unmatched_keys(
    state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor],
) -> list[str]:
    """The tensors of a model for which a checkpoint has none of that name and shape.

    ``num_batches_tracked`` does not count: early checkpoints lack it, and nothing depends on it.

    Args:
        state: The checkpoint's tensors.
        wanted: The model's.

    Example:
        >>> unmatched_keys({'a': torch.zeros(2)}, {'a': torch.zeros(3), 'b': torch.zeros(1)})
        ['a', 'b']
    """
    return [name for name, value in wanted.items()
            if not name.endswith('num_batches_tracked')
            and (name not in state or state[name].shape != value.shape)]


def resnet_multiply_adds(depth: int, variant: str, size: int = 224) -> int:
    """Multiplications and additions of a ResNet's convolutions for one image.

    Args:
        depth: 18, 34, 50, 101 or 152.
        variant: ``'a'`` is the original, whose 1x1 convolutions stride, then ``'b'``, ``'c'`` and
            ``'d'``. The average pool of ``'d'`` adds none; its sums are not counted.
        size: Side of the square image, px.

    Raises:
        ValueError: If there is no such depth or variant.

    Example:
        >>> [round(resnet_multiply_adds(50, variant) / 1e9, 1) for variant in 'bd']
        [4.1, 4.3]

    Source: arXiv 1812.01187 section 4.1 and figure 2.
    """
    if depth not in _BLOCKS or variant not in ('a', 'b', 'c', 'd'):
        raise ValueError(f'depth must be one of {sorted(_BLOCKS)} and variant a, b, c or d, got '
                         f'{depth!r} and {variant!r}')
    half = math.ceil(size / 2)
    stem = (3 * 32 + 32 * 32 + 32 * 64) * 9 if variant in 'cd' else 3 * 64 * 49
    total, side, channels = stem * half ** 2, math.ceil(half / 2), 64
    for stage, blocks in enumerate(_BLOCKS[depth]):
        planes = 64 * 2 ** stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            after = math.ceil(side / stride)
            width = planes if depth < 50 else 4 * planes
            if depth < 50:
                total += (channels * planes + planes * planes) * 9 * after ** 2
            else:
                total += channels * planes * (after if variant == 'a' else side) ** 2
                total += (planes * planes * 9 + planes * width) * after ** 2
            if stride > 1 or channels != width:
                total += channels * width * after ** 2
            side, channels = after, width
    return total
