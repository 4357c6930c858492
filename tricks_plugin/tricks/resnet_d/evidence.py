"""Measures, on the built model, which ResNet it is and whether its weights were loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...evidence import Evidence, Finding, Training

__all__ = ['ResNetVariantEvidence']


class ResNetVariantEvidence(Evidence):
    """Reads stem, strides and shortcuts, and counts norms that have never seen an image.

    A norm that starts at random has running means of exactly 0 and variances of exactly 1; one
    that was loaded has not. This tells of the norms, and the initializer refuses weights that
    leave anything else unmatched.

    Args:
        variant: The variant, ``'b'``, ``'c'`` or ``'d'``.
        pretrained: Whether the trick sees to its weights, where the run asks for any.
    """

    def __init__(self, variant: str, pretrained: bool = False) -> None:
        self._variant = variant
        self._pretrained = pretrained
        self._fresh = self._norms = 0

    def start(self, training: Training) -> None:
        """Counts the norms at their random start, before the first update."""
        self._pretrained = self._pretrained and bool(training.loaded)
        means = [part for part in _backbone(training).modules()
                 if isinstance(getattr(part, 'running_mean', None), torch.Tensor)]
        self._norms = len(means)
        self._fresh = sum(bool((part.running_mean == 0).all() and (part.running_var == 1).all())
                          for part in means)

    def finding(self, training: Training) -> Finding:
        """The variant as it stands, and the norms at their random start."""
        backbone = _backbone(training)
        stem = getattr(backbone, 'stem', getattr(backbone, 'conv1', backbone))
        count = sum(isinstance(part, nn.Conv2d) for part in stem.modules())
        strided, pooled = _strides(backbone)
        deep = self._variant in ('c', 'd')
        live: bool | None = count == (3 if deep else 1) and strided <= {3} \
            and pooled <= {self._variant == 'd'}
        kernels = '/'.join(f'{size}x{size}' for size in sorted(strided)) or 'none'
        shortcut = {True: 'average pools', False: 'strided convolutions'}
        halves = ' and '.join(shortcut[one] for one in sorted(pooled)) or 'nothing'
        measured = (f'{count} convolution(s) in the stem, strides in {kernels}, shortcuts '
                    f'halve by {halves}')
        if self._pretrained:
            live = live and (self._fresh == 0 if self._norms else None)
            measured += f'; {self._fresh} of {self._norms} norms at their random start'
        return Finding(f'ResNet-{self._variant.upper()}'
                       + (' with loaded weights' if self._pretrained else ''), live, measured,
                       {'stem_convolutions': count, 'strided_kernels': sorted(strided),
                        'pooled': sorted(pooled), 'norms': self._norms,
                        'random_norms': self._fresh})


def _backbone(training: Training) -> Any:
    """A detector's backbone, or the whole model."""
    return getattr(training.model, 'backbone', training.model)


def _strides(backbone: nn.Module) -> tuple[set[int], set[bool]]:
    """Where blocks that halve their input stride: in which kernels, and with a pool or not."""
    strided: set[int] = set()
    pooled: set[bool] = set()
    for block in backbone.modules():
        convs = [conv for name in ('conv1', 'conv2')
                 if isinstance(conv := getattr(block, name, None), nn.Module)]
        shortcut = getattr(block, 'downsample', None)
        if not isinstance(shortcut, nn.Module) or len(convs) < 2:
            continue
        kernels = {_side(conv.kernel_size) for conv in convs if _side(conv.stride) > 1}
        if kernels:
            strided |= kernels
            parts = list(shortcut.modules())
            pooled.add(any(isinstance(part, nn.AvgPool2d) for part in parts)
                       and all(_side(part.stride) == 1 for part in parts
                               if isinstance(part, nn.Conv2d)))
    return strided, pooled


def _side(value: Any) -> int:
    """The larger side of a kernel or stride."""
    return max(value) if isinstance(value, tuple) else int(value)
