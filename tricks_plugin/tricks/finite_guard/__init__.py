"""A run whose loss is no number any more stops, and says since when."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['COMPONENTS', 'FiniteGuard', 'FiniteGuardParams']

COMPONENTS = {'FiniteGuardHook': 'hook'}


@dataclasses.dataclass(frozen=True)
class FiniteGuardParams(Params):
    """Parameters of `finite_guard`."""

    limit: int = bounded(10, 'iterations in a row without a finite loss that end the run', ge=1)
    interval: int = bounded(50, 'iterations between two looks at the count on the device', ge=1)


@TRICKS.register
class FiniteGuard(Trick):
    """Counts losses that are not finite on the device, and stops the run that has failed."""

    name = 'finite_guard'
    title = 'a run whose loss is NaN or infinite stops, in place of ending as a success'
    paper = ('practice; what a scaler may skip: mixed precision training (arXiv 1710.03740) '
             'section 3.2')
    order = 120
    Params = FiniteGuardParams
    evidence = 'tricks_plugin.tricks.finite_guard.evidence:FiniteGuardEvidence'
    distributed = 'one number is shared at each look, so that all processes stop together'
