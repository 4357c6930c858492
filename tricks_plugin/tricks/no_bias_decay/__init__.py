"""No weight decay on biases and norm parameters."""

from __future__ import annotations

from ...plan import TRICKS, Trick

__all__ = ['COMPONENTS', 'NoBiasDecay']

COMPONENTS = {'NoBiasDecayOptimWrapperConstructor': 'constructor'}


@TRICKS.register
class NoBiasDecay(Trick):
    """No weight decay on biases and norm parameters."""

    name = 'no_bias_decay'
    title = 'no weight decay on biases and norm parameters'
    paper = 'BoT (arXiv 1812.01187) section 3.1; Jia et al. (arXiv 1807.11205)'
    order = 30
    evidence = 'tricks_plugin.tricks.no_bias_decay.evidence:DecayEvidence'
    functions = ('no_decay_parameters', 'param_groups')
