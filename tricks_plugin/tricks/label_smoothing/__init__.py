"""Label smoothing: the target of the true class below 1, that of the others above 0.

Importing this package needs torch alone; the losses are in `loss`, the config edit in `trick`.
"""

from __future__ import annotations

from .functional import (
    VARIANTS,
    Variant,
    convert_eps,
    smooth_one_hot,
    smoothed_softmax_cross_entropy,
    targets,
)

__all__ = ['VARIANTS', 'Variant', 'convert_eps', 'smooth_one_hot',
           'smoothed_softmax_cross_entropy', 'targets']
