"""The hook that ends a config's own strong augmentation."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from ...mm.phases import PhaseHook
from .transform import Switched

__all__ = ['ClosingHook', 'YOLOXLossHook']


@HOOKS.register_module()
class ClosingHook(PhaseHook):
    """Switches every `Switched` step of the training off for the last part of it.

    Through all wrappers of datasets, in persistent workers, in epoch- and iteration-based loops
    and after a resume; when, see `PhaseHook`.

    Args:
        off_fraction: See `PhaseHook`.
        off_epochs: See `PhaseHook`.
    """

    kind = Switched
    what = 'strong augmentation'


@HOOKS.register_module()
class YOLOXLossHook(Hook):
    """Turns on YOLOX's L1 loss for the last epochs, and leaves the data alone.

    Half of what mmdet's YOLOXModeSwitchHook does (arXiv 2107.08430 section 2.1), for data sets
    that the other half cannot reach.

    A head without that loss is left alone.

    Args:
        num_last_epochs: As that hook counts them: one epoch more than it says.
    """

    def __init__(self, num_last_epochs: int = 15) -> None:
        self.num_last_epochs = num_last_epochs

    def before_train_epoch(self, runner: Any) -> None:
        """Turns the loss on when it is due, also after a resume."""
        if runner.epoch + 1 < runner.max_epochs - self.num_last_epochs:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        head = getattr(getattr(model, 'detector', model), 'bbox_head', None)
        if getattr(head, 'use_l1', None) is False:
            runner.logger.info(f'The L1 loss is on from epoch {runner.epoch}')
            head.use_l1 = True  # type: ignore[union-attr]
