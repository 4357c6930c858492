"""The hook that zeroes the scales of a backbone that starts from scratch."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from .functional import zero_last_scales

__all__ = ['ZeroGammaHook']


@HOOKS.register_module()
class ZeroGammaHook(Hook):
    """Zeroes the last scale of each residual branch of the backbone, once.

    It runs when the weights are initialised, before a checkpoint is loaded or resumed from, so
    that one brings its own scales, and before an average of the weights is copied.

    Source: arXiv 1812.01187 section 3.1.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Any) -> None:
        """Zeroes the scales and logs how many."""
        model = getattr(runner.model, 'module', runner.model)
        backbone = getattr(model, 'backbone', None)
        count = zero_last_scales(backbone) if backbone is not None else 0
        if count:
            runner.logger.info(f'ZeroGammaHook: {count} residual branches of '
                               f'{type(backbone).__name__} start at zero')
        else:
            runner.logger.warning('ZeroGammaHook found no residual branch that it knows, with a '
                                  f'scale that trains, in {type(backbone).__name__}')
