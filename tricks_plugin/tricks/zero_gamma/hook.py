"""The hook that zeroes the scales of a backbone that starts from scratch."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...mm.pretrained import loads
from .functional import zero_last_scales

__all__ = ['ZeroGammaHook']


@HOOKS.register_module()
class ZeroGammaHook(Hook):
    """Zeroes the last scale of each residual branch of the backbone, once.

    It runs when the training begins, after mmengine has initialised the weights, which it does
    after ``before_run``. Where a checkpoint was loaded or resumed from, or the ``init_cfg`` of the
    model or its backbone has loaded one, that one's scales stay. An
    average of the weights is a copy of them with its first update, so it starts with the zeros too.

    Source: arXiv 1812.01187 section 3.1.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._loaded = False

    def before_run(self, runner: Any) -> None:
        """No checkpoint is loaded yet."""
        self._loaded = False

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Notes that the weights are a checkpoint's."""
        self._loaded = True

    def before_train(self, runner: Any) -> None:
        """Zeroes the scales and logs how many."""
        if self._loaded:
            return
        model = getattr(runner.model, 'module', runner.model)
        backbone = getattr(model, 'backbone', None)
        if any(loads(getattr(part, 'init_cfg', None)) for part in (model, backbone)):
            runner.logger.info('ZeroGammaHook: the scales stay, which init_cfg has loaded')
            return
        count = zero_last_scales(backbone) if backbone is not None else 0
        if count:
            runner.logger.info(f'ZeroGammaHook: {count} residual branches of '
                               f'{type(backbone).__name__} start at zero')
        else:
            runner.logger.warning('ZeroGammaHook found no residual branch that it knows, with a '
                                  f'scale that trains, in {type(backbone).__name__}')
