"""Label smoothing: class targets that are a little less sure of themselves."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...plan import TRICKS, Params, RunFacts, Trick, bounded
from .variants import SMOOTHING_VARIANTS

__all__ = ['LabelSmoothing', 'LabelSmoothingParams']

COMPONENTS = {'SmoothedCrossEntropyLoss': 'loss', 'SmoothedFocalLoss': 'loss',
              'SmoothedClassificationLoss': 'class_loss'}

# For classifiers, see When it pays in the README.
MIN_UPDATES = 1500  # 1140 lose, 1560 show neither loss nor gain (measured here, one data set)


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

    def pays(self, facts: RunFacts) -> str | None:
        """Not in a classifier's run as short as the one that it made worse."""
        few = facts.fewer('updates', MIN_UPDATES)
        if facts.task != 'classification' or not few:
            return None
        return (f'{few} are too few for label smoothing: in 1140 updates on 2500 images of '
                'CIFAR-10 it cost 0.55 points of top-1 (six seeds, one data set)')

    def timm_pays(self, args: dict[str, Any], facts: RunFacts) -> str | None:
        """`pays`, and what timm's own default leaves behind."""
        reason = super().timm_pays(args, facts)
        if reason and args.get('smoothing'):
            reason += (f"; timm's own --smoothing {args['smoothing']:g} stays, and --smoothing 0 "
                       'goes without')
        return reason
