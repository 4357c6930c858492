"""Residual branches that start at zero: the scale of their last norm is initialised to 0."""

from . import trick  # noqa: F401

COMPONENTS = {'ZeroGammaHook': 'hook'}
