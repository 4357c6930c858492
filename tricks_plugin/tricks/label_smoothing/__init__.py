"""Label smoothing: the target of the true class below 1, that of the others above 0.

Importing this package needs torch alone; the losses are in `loss`, the config edit in `trick`.
"""

from . import trick  # noqa: F401

COMPONENTS = {'SmoothedCrossEntropyLoss': 'loss', 'SmoothedFocalLoss': 'loss'}
