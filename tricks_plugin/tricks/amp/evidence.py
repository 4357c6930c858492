"""Measures, in the running training, the format that layers really compute in."""

from __future__ import annotations

import collections
from typing import Any

import torch
from torch import nn

from ...evidence import Evidence, Finding, Training

__all__ = ['AutocastEvidence']

_HALF = ('bfloat16', 'float16')


class AutocastEvidence(Evidence):
    """Reads the dtype that comes out of up to three convolution or linear layers while training.

    The rule: the latest output of one of them is in 16 bits. Some heads compute in float32 on
    purpose, so not every layer has to be. Layers of a compiled model are not asked, but a product
    in the trainer's context.

    Args:
        dtype: The format, where only one will do: ``'bfloat16'`` or ``'float16'``.
    """

    def __init__(self, dtype: str | None = None) -> None:
        self._wanted = (dtype,) if dtype else _HALF
        self._planned = dtype or '16-bit products'
        self._seen: collections.Counter[str] = collections.Counter()
        self._latest: dict[int, str] = {}
        self._handles: list[Any] = []

    def start(self, training: Training) -> None:
        """Hooks the first, middle and last such layer whose weights train, or of all."""
        if training.compiled:
            return
        layers = [module for module in training.model.modules()
                  if isinstance(module, (nn.Conv2d, nn.Linear))]
        layers = [layer for layer in layers if layer.weight.requires_grad] or layers
        for index in sorted({0, len(layers) // 2, len(layers) - 1}) if layers else ():
            self._handles.append(layers[index].register_forward_hook(self._look))

    def _look(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        if module.training:
            dtype = str(output.dtype).removeprefix('torch.')
            self._seen[dtype] += 1
            self._latest[id(module)] = dtype

    def finding(self, training: Training) -> Finding:
        """The formats seen, and the loss scale with the skipped updates where there is one."""
        seen = dict(self._seen)
        live = None if not self._latest else any(
            dtype in self._wanted for dtype in self._latest.values())
        measured = ', '.join(f'{count} outputs in {dtype}' for dtype, count in seen.items()) \
            or 'no layer was called'
        if len(seen) > 1:
            measured += f'; the latest in {"/".join(sorted(set(self._latest.values())))}'
        if training.compiled:
            dtype = _product(training)
            live, seen = dtype in self._wanted, {dtype: 1}
            measured = f'the model is compiled; a product in its context comes out in {dtype}'
        scales, skipped = training.loss_scales, training.attempts - training.updates
        values: dict[str, Any] = {'outputs': seen, 'loss_scales': scales}
        if scales:
            measured += (f'; loss scale {"/".join(f"{scale:g}" for scale in scales)}, {skipped} of '
                         f'{training.attempts} updates skipped')
            values |= {'skipped': skipped, 'updates': training.attempts}
        return Finding(self._planned, live, measured, values)

    def close(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _product(training: Training) -> str:
    """The dtype of a product of float32 matrices in the trainer's context."""
    with training.forward_context():
        ones = torch.ones(2, 2, device=training.device)
        return str((ones @ ones).dtype).removeprefix('torch.')
