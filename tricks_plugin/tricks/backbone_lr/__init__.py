"""A lower learning rate for a pretrained backbone."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, RunFacts, Trick, bounded

__all__ = ['COMPONENTS', 'BackboneLr', 'BackboneLrParams']

COMPONENTS = {'BackboneLrOptimWrapperConstructor': 'constructor'}


@dataclasses.dataclass(frozen=True)
class BackboneLrParams(Params):
    """Parameters of `backbone_lr`."""

    lr_mult: float = bounded(0.1, "the backbone's LR as a share of the others'", gt=0, lt=1)


@TRICKS.register
class BackboneLr(Trick):
    """Multiplies the learning rate of the backbone's parameters, and leaves all else as it is."""

    name = 'backbone_lr'
    title = 'a lower learning rate for the backbone, whose weights are good already'
    paper = 'DETR (arXiv 2005.12872) section 4; Howard and Ruder (arXiv 1801.06146) section 3.2'
    order = 12  # before the schedule, whose lowest LR must be below every group's
    Params = BackboneLrParams
    evidence = 'tricks_plugin.tricks.backbone_lr.evidence:BackboneLrEvidence'

    def pays(self, facts: RunFacts) -> str | None:
        """Not where the backbone has everything to learn."""
        return 'the settings load no pretrained weights, and random ones would learn too slowly' \
            if facts.pretrained is None and facts.task else None
