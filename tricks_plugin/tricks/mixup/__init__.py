"""Geometry-preserving mixup for detectors (arXiv 1902.04103 section 3.1)."""

from .functional import (
    blend,
    box_weights,
    concat_annotations,
    contiguous_image,
    draw_lam,
    element_weights,
    planar_image,
)

__all__ = ['blend', 'box_weights', 'concat_annotations', 'contiguous_image', 'draw_lam',
           'element_weights', 'planar_image']
