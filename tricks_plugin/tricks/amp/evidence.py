"""Measures, in the running training, the format that layers really compute in."""

from __future__ import annotations

import collections
from typing import Any

import torch

from ...evidence import Evidence, Finding

__all__ = ['AutocastEvidence']


class AutocastEvidence(Evidence):
    """Reads the dtype that comes out of one convolution or linear layer while training.

    Args:
        dtype: The planned format, ``'bfloat16'`` or ``'float16'``.
    """

    def __init__(self, dtype: str) -> None:
        self._planned = dtype
        self._seen: collections.Counter[str] = collections.Counter()
        self._handle: Any = None

    def start(self, runner: Any) -> None:
        """Hooks the first such layer whose weights train, or the first at all."""
        layers = [module for module in runner.model.modules() if isinstance(
            module, (torch.nn.Conv2d, torch.nn.Linear))]
        layers.sort(key=lambda layer: not layer.weight.requires_grad)
        if layers:
            self._handle = layers[0].register_forward_hook(self._look)

    def _look(self, module: torch.nn.Module, args: Any, output: torch.Tensor) -> None:
        if module.training:
            self._seen[str(output.dtype).removeprefix('torch.')] += 1

    def finding(self, runner: Any) -> Finding:
        """The formats seen, and the loss scale where there is one."""
        live = None if not self._seen else set(self._seen) == {self._planned}
        seen = ', '.join(f'{count} outputs in {dtype}' for dtype, count in self._seen.items())
        wrapper = runner.optim_wrapper
        wrappers = wrapper.values() if hasattr(wrapper, 'optim_wrappers') else [wrapper]
        scales = [float(item.loss_scaler.get_scale()) for item in wrappers
                  if hasattr(item, 'loss_scaler')]
        measured = seen or 'no layer was called'
        if scales:
            measured += f'; loss scale {"/".join(f"{scale:g}" for scale in scales)}'
        return Finding(self._planned, live, measured,
                       {'outputs': dict(self._seen), 'loss_scales': scales})

    def close(self) -> None:
        """Takes the hook off."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
