"""The pure functions of every room, for plain PyTorch, Lightning or NumPy code.

Importing this module needs NumPy and torch only.
"""

from .tricks.amp.functional import *  # noqa: F403
from .tricks.cosine_warmup.functional import *  # noqa: F403
from .tricks.ema.functional import *  # noqa: F403
from .tricks.label_smoothing.functional import *  # noqa: F403
from .tricks.linear_lr.functional import *  # noqa: F403
from .tricks.mixup.functional import *  # noqa: F403
from .tricks.no_bias_decay.functional import *  # noqa: F403
from .tricks.random_shapes.functional import *  # noqa: F403
from .tricks.resnet_d.functional import *  # noqa: F403
from .tricks.runtime.functional import *  # noqa: F403
from .tricks.step_decay.functional import *  # noqa: F403
from .tricks.sync_bn.convert import CrossRankBatchNorm, synchronize_batch_norms  # noqa: F401
from .tricks.sync_bn.functional import *  # noqa: F403
from .tricks.zero_gamma.functional import *  # noqa: F403
