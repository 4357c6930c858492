"""Measures, on the built model, which ResNet it is and whether its weights were loaded."""

from __future__ import annotations

from typing import Any

import torch

from ...evidence import Evidence, Finding

__all__ = ['ResNetVariantEvidence']


class ResNetVariantEvidence(Evidence):
    """Reads stem, strides and shortcuts, and counts norms that have never seen an image.

    A norm that starts at random has running means of exactly 0 and variances of exactly 1; one
    that was loaded has not. This tells of the norms, and the initializer refuses weights that
    leave anything else unmatched.

    Args:
        variant: The planned variant, ``'b'``, ``'c'`` or ``'d'``.
        pretrained: Whether weights were planned.
    """

    def __init__(self, variant: str, pretrained: bool) -> None:
        self._variant = variant
        self._pretrained = pretrained
        self._stem = self._fresh = self._norms = 0
        self._strided: set[int] = set()
        self._pooled: set[bool] = set()

    def start(self, runner: Any) -> None:
        """Reads the backbone once, before the first update."""
        model = getattr(runner.model, 'module', runner.model)
        backbone = model.backbone
        stem = getattr(backbone, 'stem', getattr(backbone, 'conv1', backbone))
        self._stem = sum(isinstance(part, torch.nn.Conv2d) for part in stem.modules())
        for block in backbone.modules():
            shortcut = getattr(block, 'downsample', None)
            if isinstance(shortcut, torch.nn.Module):
                self._read_block(block, shortcut)
        means = [part for part in backbone.modules()
                 if isinstance(getattr(part, 'running_mean', None), torch.Tensor)]
        self._norms = len(means)
        self._fresh = sum(bool((part.running_mean == 0).all() and (part.running_var == 1).all())
                          for part in means)

    def _read_block(self, block: Any, shortcut: torch.nn.Module) -> None:
        """Where a block that halves its input strides: in which kernel, and with a pool or not."""
        kernels = {conv.kernel_size[0] for conv in (block.conv1, block.conv2)
                   if max(conv.stride) > 1}
        if kernels:
            self._strided |= kernels
            parts = list(shortcut.modules())
            self._pooled.add(any(isinstance(part, torch.nn.AvgPool2d) for part in parts)
                             and all(max(part.stride) == 1 for part in parts
                                     if isinstance(part, torch.nn.Conv2d)))

    def finding(self, runner: Any) -> Finding:
        """The variant that was built, and the norms at their random start."""
        deep = self._variant in ('c', 'd')
        live: bool | None = self._stem == (3 if deep else 1) and self._strided <= {3} \
            and self._pooled <= {self._variant == 'd'}
        kernels = '/'.join(f'{size}x{size}' for size in sorted(self._strided)) or 'none'
        shortcut = {True: 'average pools', False: 'strided convolutions'}
        halves = ' and '.join(shortcut[one] for one in sorted(self._pooled)) or 'nothing'
        measured = (f'{self._stem} convolution(s) in the stem, strides in {kernels}, shortcuts '
                    f'halve by {halves}')
        if self._pretrained:
            live = live and (self._fresh == 0 if self._norms else None)
            measured += f'; {self._fresh} of {self._norms} norms at their random start'
        return Finding(f'ResNet-{self._variant.upper()}'
                       + (' with loaded weights' if self._pretrained else ''), live, measured,
                       {'stem_convolutions': self._stem, 'strided_kernels': sorted(self._strided),
                        'pooled': sorted(self._pooled), 'norms': self._norms,
                        'random_norms': self._fresh})
