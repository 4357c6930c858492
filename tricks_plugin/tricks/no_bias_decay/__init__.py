"""No weight decay on biases and norm parameters."""

from .functional import no_decay_parameters, param_groups

__all__ = ['no_decay_parameters', 'param_groups']
