"""An exponential moving average of the weights, its memory fitted to the run's length."""

from .functional import ema_momentum

__all__ = ['ema_momentum']
