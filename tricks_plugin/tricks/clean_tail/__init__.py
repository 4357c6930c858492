"""The config's own strong augmentation ends before the training does (arXiv 2107.08430)."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded
from ...plan.errors import TrickError

__all__ = ['CleanTail', 'CleanTailParams']

COMPONENTS = {'Switched': 'transform', 'ClosingHook': 'hook', 'YOLOXLossHook': 'hook'}


@dataclasses.dataclass(frozen=True)
class CleanTailParams(Params):
    """Parameters of `clean_tail`."""

    off_fraction: float | None = bounded(
        None, "last part of the training without the config's strong steps; default 0.1",
        gt=0, lt=1)
    off_epochs: int | None = bounded(None, 'the same in epochs, instead', ge=1)
    steps: tuple[str, ...] | None = bounded(
        None, 'class names of the steps that end, instead of the usual ones')

    def check(self, path: str) -> None:
        """Refuses what no config could use."""
        if self.off_fraction is not None and self.off_epochs is not None:
            raise TrickError(f'{path}: give off_fraction or off_epochs, not both, got '
                             f'{self.off_fraction!r} and {self.off_epochs!r}')
        if self.steps is not None and not self.steps:
            raise TrickError(f'{path}.steps must name a step, got {self.steps!r}')


@TRICKS.register
class CleanTail(Trick):
    """Ends the config's own strong augmentation before the training ends."""

    name = 'clean_tail'
    title = "The config's own mosaic, mixing, warping and colours end before the training does"
    paper = 'YOLOX, arXiv 2107.08430 section 2.1; RTMDet, arXiv 2212.07784 section 3.3'
    order = 75
    Params = CleanTailParams
    evidence = 'tricks_plugin.tricks.clean_tail.evidence:CleanTailEvidence'
    distributed = 'the switch is per rank, at the same epoch or iteration'
