"""One random shape per batch for single-stage detectors (arXiv 1902.04103 section 3.6)."""

from .functional import (
    draw_size,
    nearest_index,
    rescale_boxes,
    resize_images,
    scaled_length,
    target_shape,
    training_sizes,
)

__all__ = ['draw_size', 'nearest_index', 'rescale_boxes', 'resize_images', 'scaled_length',
           'target_shape', 'training_sizes']
