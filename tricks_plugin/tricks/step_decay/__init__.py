"""The step decay that cosine schedules are compared with: a tenth at 30, 60 and 90 %."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded
from ...plan.errors import TrickError
from .functional import decay_points

__all__ = ['StepDecay', 'StepDecayParams']


@dataclasses.dataclass(frozen=True)
class StepDecayParams(Params):
    """Parameters of `step_decay`."""

    milestones: tuple[float, ...] | list[float] = bounded(
        (0.3, 0.6, 0.9), 'shares of the run at which the LR falls')
    gamma: float = bounded(0.1, 'what the LR is multiplied by each time', gt=0, lt=1)

    def check(self, path: str) -> None:
        """Raises TrickError unless the milestones rise within (0, 1)."""
        try:
            decay_points(10 ** 9, self.milestones)
        except ValueError as error:
            raise TrickError(f'{path}.milestones: {error}') from None


@TRICKS.register
class StepDecay(Trick):
    """A tenth of the LR at 30, 60 and 90 % of the run: an opponent for `cosine_warmup`."""

    name = 'step_decay'
    title = 'learning rate in steps: a fair baseline for the cosine'
    paper = 'BoT (arXiv 1812.01187) section 5.1'
    order = 25
    Params = StepDecayParams
    evidence = 'tricks_plugin.tricks.step_decay.evidence:StepEvidence'
    excludes = ('cosine_warmup',)
    functions = ('decay_points', 'step_decay')
