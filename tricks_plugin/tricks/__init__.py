"""One room per trick. Importing this package registers every trick, and needs no mmengine."""

from .base import TRICKS, Params, Trick, Verdict, bounded
from .cosine_warmup import trick as _cosine_warmup
from .label_smoothing import trick as _label_smoothing
from .linear_lr import trick as _linear_lr
from .mixup import trick as _mixup
from .no_bias_decay import trick as _no_bias_decay

__all__ = ['TRICKS', 'Params', 'Trick', 'Verdict', 'bounded']

ROOMS = (_linear_lr, _cosine_warmup, _no_bias_decay, _label_smoothing, _mixup)
