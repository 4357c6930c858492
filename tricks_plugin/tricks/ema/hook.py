"""mmengine's EMAHook with a momentum that follows from the run's length."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS

from .functional import ema_momentum

__all__ = ['RunLengthEMAHook']


@HOOKS.register_module()
class RunLengthEMAHook(EMAHook):
    """Averages the weights over a share of the run; everything else is mmengine's EMAHook.

    A config names epochs, not iterations, so the momentum can only be worked out once the
    training's data set is built.

    Args:
        horizon: Memory of the average as a share of the run, in (0, 1).
        momentum: The share of the new weights, which overrides ``horizon``.
        **kwargs: Those of mmengine's EMAHook.

    Raises:
        ValueError: If ``horizon`` is out of its range.
    """

    priority = 49  # before the hooks of normal priority, as in mmdet's configs

    def __init__(self, horizon: float = 0.02, momentum: float | None = None,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < horizon < 1:
            raise ValueError(f'horizon must be in (0, 1), got {horizon!r}')
        self.horizon = horizon
        if momentum is not None:
            self.ema_cfg['momentum'] = momentum

    def before_run(self, runner: Any) -> None:
        """Works the momentum out and makes the average's copy of the model."""
        if 'momentum' not in self.ema_cfg and runner.max_iters:
            momentum = ema_momentum(runner.max_iters, self.horizon)
            self.ema_cfg['momentum'] = momentum
            runner.logger.info(f'RunLengthEMAHook: momentum {momentum:.3g} '
                               f'({self.horizon:g} of {runner.max_iters} iterations)')
        super().before_run(runner)
