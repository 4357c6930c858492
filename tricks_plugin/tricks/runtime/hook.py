"""The hook that switches TensorFloat-32 and the channels-last layout on for a training."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from .functional import needs_plain_layout

__all__ = ['RuntimeOptionsHook']


@HOOKS.register_module()
class RuntimeOptionsHook(Hook):
    """Sets what no config entry of mmengine sets, and logs what it did and what it left.

    Checkpoints stay as they are: a layout is an order in memory, names, shapes and values do not
    change, and a model of either layout loads them.

    Args:
        tf32: Matrix products and convolutions in TensorFloat-32, where the device has it; reset
            after the run.
        channels_last: Weights, and so the feature maps, with their channels together in memory.
            Left off for models with an operation that cannot read it (`needs_plain_layout`), and
            for models in a wrapper such as DistributedDataParallel, whose buckets have the plain
            layout.
    """

    # Before hooks that copy the model, such as EMAHook.
    priority = 'VERY_HIGH'

    def __init__(self, tf32: bool = False, channels_last: bool = False) -> None:
        self.tf32 = tf32
        self.channels_last = channels_last
        self._before: tuple[bool, bool] | None = None

    def before_run(self, runner: Any) -> None:
        """Switches on what the device and the model allow."""
        if self.tf32:
            self._use_tf32(runner.logger)
        if self.channels_last:
            self._use_channels_last(runner)

    def _use_tf32(self, logger: Any) -> None:
        if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
            logger.warning('RuntimeOptionsHook: no TensorFloat-32 on this device')
            return
        self._before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        logger.info('RuntimeOptionsHook: matrix products and convolutions in TensorFloat-32')

    def _use_channels_last(self, runner: Any) -> None:
        kinds = {type(part) for part in runner.model.modules()}
        obstacle = 'the model is in a wrapper' if is_model_wrapper(runner.model) else next(
            filter(None, (needs_plain_layout(kind) for kind in kinds)), '')
        if obstacle:
            runner.logger.warning('RuntimeOptionsHook: the layout of the weights stays plain: '
                                  f'{obstacle}')
            return
        runner.model.to(memory_format=torch.channels_last)
        runner.logger.info('RuntimeOptionsHook: weights are laid out channels-last')

    def after_run(self, runner: Any) -> None:
        """Sets the process's precision as it was."""
        if self._before is not None:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._before
            self._before = None
