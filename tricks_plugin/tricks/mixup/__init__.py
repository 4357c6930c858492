"""Geometry-preserving mixup for detectors (arXiv 1902.04103 section 3.1)."""

from . import trick  # noqa: F401

COMPONENTS = {'GeometryPreservingMixUp': 'transform', 'PackWeightedDetInputs': 'packing',
              'MixUpWeightingHook': 'weighting.hook', 'MixUpOffHook': 'hook'}
