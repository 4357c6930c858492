"""Residual branches that start at zero: the scale of their last norm is initialised to 0."""

from __future__ import annotations

from ...plan import TRICKS, Trick

__all__ = ['COMPONENTS', 'ZeroGamma']

COMPONENTS = {'ZeroGammaHook': 'hook'}


@TRICKS.register
class ZeroGamma(Trick):
    """Zero scales at the end of residual branches, where the backbone starts from scratch."""

    name = 'zero_gamma'
    title = 'the last norm of each residual branch starts at zero'
    paper = 'BoT (arXiv 1812.01187) section 3.1; Goyal et al. (arXiv 1706.02677) section 5.1'
    order = 100
    evidence = 'tricks_plugin.tricks.zero_gamma.evidence:ZeroScaleEvidence'
    functions = ('zero_last_scales',)
