"""Label smoothing: class targets that are a little less sure of themselves."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded
from .variants import SMOOTHING_VARIANTS

__all__ = ['LabelSmoothing', 'LabelSmoothingParams']

COMPONENTS = {'SmoothedCrossEntropyLoss': 'loss', 'SmoothedFocalLoss': 'loss',
              'SmoothedClassificationLoss': 'class_loss'}


@dataclasses.dataclass(frozen=True)
class LabelSmoothingParams(Params):
    """Parameters of `LabelSmoothing`."""

    eps: float = bounded(0.1, "smoothing, in the variant's own sense", gt=0, lt=1)
    variant: str | None = bounded(
        None, "how a label is spread; default 'he' for softmax heads, 'szegedy' for sigmoid heads",
        choices=tuple(SMOOTHING_VARIANTS))


@TRICKS.register
class LabelSmoothing(Trick):
    """Smooths the class labels of every head whose target is a class."""

    name = 'label_smoothing'
    title = 'class targets of pos < 1 and neg > 0 in place of 1 and 0'
    paper = ('He et al., arXiv 1812.01187, section 5.2 (softmax); '
             'Zhang et al., arXiv 1902.04103, section 3.2 (sigmoid)')
    order = 40
    Params = LabelSmoothingParams
    evidence = 'tricks_plugin.tricks.label_smoothing.evidence:LabelSmoothingEvidence'
    functions = ('smooth_one_hot', 'smoothed_cross_entropy', 'convert_eps', 'smoothing_targets')
