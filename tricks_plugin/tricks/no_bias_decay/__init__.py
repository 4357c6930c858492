"""No weight decay on biases and norm parameters."""

from . import trick  # noqa: F401

COMPONENTS = {'NoBiasDecayOptimWrapperConstructor': 'constructor'}
