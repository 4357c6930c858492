"""The optimizer wrapper that trains in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast

__all__ = ['BFloat16OptimWrapper']


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper with the forward pass under bfloat16 autocast, on GPU or CPU.

    mmengine's AmpOptimWrapper refuses the CPU, and scales losses, which bfloat16 with its range
    of float32 does not need. Weights, gradients and checkpoints stay float32.

    Args: those of mmengine's OptimWrapper.

    Raises:
        RuntimeError: From a training step, if the device does not compute in bfloat16.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Enters the model's own context (gradient synchronisation) and autocast."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
