"""Linear warm-up from 0, then a cosine to `eta_min`, stepped per iteration."""

from .functional import fitted_warmup, warmup_cosine

__all__ = ['fitted_warmup', 'warmup_cosine']
