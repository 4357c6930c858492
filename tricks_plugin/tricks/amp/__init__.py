"""16-bit mixed precision: bfloat16 where device and model have it, float16 elsewhere."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['COMPONENTS', 'Amp', 'AmpParams']

COMPONENTS = {'BFloat16OptimWrapper': 'wrapper'}


@dataclasses.dataclass(frozen=True)
class AmpParams(Params):
    """Parameters of `amp`."""

    dtype: str = bounded('auto', "the 16-bit format; 'auto' takes the best that device and model "
                         'have', choices=('auto', 'bfloat16', 'float16'))


@TRICKS.register
class Amp(Trick):
    """Mixed precision by one switch."""

    name = 'amp'
    title = '16-bit mixed precision'
    paper = 'Micikevicius et al. (arXiv 1710.03740); BoT (arXiv 1812.01187) section 3.2'
    order = 80
    Params = AmpParams
    evidence = 'tricks_plugin.tricks.amp.evidence:AutocastEvidence'
    functions = ('pick_dtype',)
