"""Residual branches that start at zero: the scale of their last norm is initialised to 0."""

from .functional import last_norm, zero_last_scales

__all__ = ['last_norm', 'zero_last_scales']
