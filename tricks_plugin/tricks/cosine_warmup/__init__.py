"""Linear warm-up from 0, then a cosine to `eta_min`, stepped per iteration."""

from . import trick  # noqa: F401

COMPONENTS = {'WarmupCosineLR': 'scheduler'}
