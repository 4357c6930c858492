"""The pure functions of every room, for plain PyTorch, Lightning or NumPy code.

Importing this module needs NumPy and torch only. docs/functional.md has a training loop of them.
Every function's docstring has an example, which needs ``import numpy as np``, ``import torch`` and
``from tricks_plugin.functional import *`` before it.
"""

from __future__ import annotations

import warnings
from typing import Any

from .common.sync_bn import CrossRankBatchNorm, synchronize_batch_norms
from .tricks.amp.functional import pick_dtype
from .tricks.backbone_lr.functional import backbone_parameters
from .tricks.cosine_warmup.functional import fitted_warmup, warmup_cosine, warmup_cosine_factor
from .tricks.distill.functional import logit_distillation_loss, pearson_distillation_loss
from .tricks.ema.functional import WeightAverage, ema_momentum
from .tricks.label_smoothing.functional import (
    SMOOTHING_VARIANTS,
    SmoothingVariant,
    check_smoothing,
    convert_eps,
    default_smoothing_variant,
    one_hot_classes,
    one_hot_labels,
    smooth_one_hot,
    smoothed_cross_entropy,
    smoothed_softmax_cross_entropy,
    smoothing_targets,
    soft_cross_entropy,
)
from .tricks.linear_lr.functional import effective_batch_size, linear_scaled_lr
from .tricks.mixup.functional import (
    blend,
    box_weights,
    concat_annotations,
    contiguous_image,
    draw_lam,
    element_weights,
    mixup_batch,
    planar_image,
)
from .tricks.no_bias_decay.functional import (
    bias_and_norm_parameters,
    no_decay_parameters,
    param_groups,
)
from .tricks.random_shapes.functional import (
    MIN_TRAINING_SIZE,
    draw_size,
    nearest_index,
    rescale_boxes,
    resize_images,
    scaled_length,
    target_shape,
    training_sizes,
)
from .tricks.resnet_d.functional import match_resnet_keys, resnet_multiply_adds, unmatched_keys
from .tricks.runtime.functional import fixed_pipeline_size, needs_plain_layout
from .tricks.step_decay.functional import decay_points, step_decay
from .tricks.sync_bn.functional import merge_moments, sync_bn_traffic
from .tricks.zero_gamma.functional import last_norm, zero_last_scales

__all__ = [
    'CrossRankBatchNorm', 'MIN_TRAINING_SIZE', 'SMOOTHING_VARIANTS', 'SmoothingVariant',
    'WeightAverage', 'backbone_parameters', 'bias_and_norm_parameters', 'blend', 'box_weights',
    'check_smoothing', 'concat_annotations', 'contiguous_image', 'convert_eps', 'decay_points',
    'default_smoothing_variant', 'draw_lam', 'draw_size', 'effective_batch_size',
    'element_weights', 'ema_momentum', 'fitted_warmup', 'fixed_pipeline_size', 'last_norm',
    'linear_scaled_lr', 'logit_distillation_loss', 'match_resnet_keys', 'merge_moments',
    'mixup_batch', 'nearest_index', 'needs_plain_layout', 'no_decay_parameters', 'one_hot_classes',
    'one_hot_labels', 'param_groups', 'pearson_distillation_loss', 'pick_dtype', 'planar_image',
    'rescale_boxes', 'resize_images', 'resnet_multiply_adds', 'scaled_length', 'smooth_one_hot',
    'smoothed_cross_entropy', 'smoothing_targets', 'soft_cross_entropy', 'step_decay',
    'sync_bn_traffic', 'synchronize_batch_norms', 'target_shape', 'training_sizes',
    'unmatched_keys', 'warmup_cosine', 'warmup_cosine_factor', 'zero_last_scales',
]

# Names of release 0.1, each with what it is called now; they go with the next release.
_RENAMED: dict[str, tuple[Any, str]] = {
    'MIN_SIZE': (MIN_TRAINING_SIZE, 'MIN_TRAINING_SIZE'),
    'VARIANTS': (SMOOTHING_VARIANTS, 'SMOOTHING_VARIANTS'),
    'Variant': (SmoothingVariant, 'SmoothingVariant'),
    'default_variant': (default_smoothing_variant, 'default_smoothing_variant'),
    'fixed_size': (fixed_pipeline_size, 'fixed_pipeline_size'),
    'smoothed_softmax_cross_entropy': (
        smoothed_softmax_cross_entropy, "smoothed_cross_entropy (with reduction='none')"),
    'targets': (smoothing_targets, 'smoothing_targets'),
}
del smoothed_softmax_cross_entropy


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value, new = _RENAMED[name]
    warnings.warn(f'tricks_plugin.functional.{name} is called {new} now; the old name goes with '
                  'the next release', DeprecationWarning, stacklevel=2)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
