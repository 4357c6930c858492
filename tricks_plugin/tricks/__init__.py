"""One room per trick. Importing this package registers every trick, and needs no mmengine."""

from .amp import trick as _amp
from .base import TRICKS, Params, Trick, Verdict, bounded
from .cosine_warmup import trick as _cosine_warmup
from .ema import trick as _ema
from .label_smoothing import trick as _label_smoothing
from .linear_lr import trick as _linear_lr
from .mixup import trick as _mixup
from .no_bias_decay import trick as _no_bias_decay
from .random_shapes import trick as _random_shapes
from .resnet_d import trick as _resnet_d
from .runtime import trick as _runtime
from .step_decay import trick as _step_decay
from .sync_bn import trick as _sync_bn
from .zero_gamma import trick as _zero_gamma

__all__ = ['TRICKS', 'Params', 'Trick', 'Verdict', 'bounded']

ROOMS = (_resnet_d, _linear_lr, _cosine_warmup, _step_decay, _no_bias_decay, _label_smoothing,
         _mixup, _sync_bn, _random_shapes, _amp, _ema, _zero_gamma, _runtime)
