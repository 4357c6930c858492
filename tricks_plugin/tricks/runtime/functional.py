"""What decides over the options: image sizes of a pipeline, and memory layouts of a model."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ['fixed_pipeline_size', 'needs_plain_layout']

_MOSAICS = ('Mosaic', 'CachedMosaic')
# Compiled operations that see boxes, points or matrices, never feature maps.
_WITHOUT_MAPS = {'batched_nms', 'nms', 'nms_match', 'soft_nms', 'SigmoidFocalLossFunction',
                 'SoftmaxFocalLossFunction', 'bbox_overlaps',
                 'point_sample', 'rel_roi_point_to_rel_img_point'}  # these two by torch
# Transforms that leave the size of an image as it is.
_KEEPING = {
    'LoadImageFromFile', 'LoadAnnotations', 'RandomFlip',
    'PhotoMetricDistortion',
    'YOLOXHSVRandomAug',
    'PackDetInputs', 'FilterAnnotations', 'MixUp', 'CachedMixUp',
    'CopyPaste', 'Corrupt', 'LoadPanopticAnnotations', 'LoadProposals',
    'CutOut', 'RandomErasing', 'ColorTransform', 'Normalize', 'Brightness', 'Contrast', 'Sharpness',
    'AutoContrast', 'Equalize', 'Color', 'Invert', 'Posterize', 'Solarize', 'SolarizeAdd',
    'LoadImageFromNDArray', 'ImageToTensor', 'LoadEmptyAnnotations',
    'PackInputs', 'RandAugment', 'ColorJitter', 'Lighting', 'RandomGrayscale', 'GaussianBlur',
    'Shear', 'Translate', 'Rotate', 'Cutout', 'NumpyToPIL', 'PILToNumpy',
}
# Of classifiers: the setting that names the size which every image has afterwards.
_TO_A_SIZE = {'RandomResizedCrop': 'scale', 'EfficientNetRandomCrop': 'scale',
              'EfficientNetCenterCrop': 'crop_size'}


def fixed_pipeline_size(
    steps: Iterable[Any], size: tuple[int, int] | None = None,
) -> tuple[int, int] | None:
    """The one size that every image has when it leaves a pipeline.

    Args:
        steps: Transforms as dicts with plain ``type`` names.
        size: The size (width, height) of every image that enters; None if they differ.

    Returns:
        (width, height); None if images may differ, or a transform is not known.

    Example:
        >>> fixed_pipeline_size([dict(type='Resize', scale=(640, 480), keep_ratio=False)])
        (640, 480)
        >>> fixed_pipeline_size([dict(type='Resize', scale=(640, 480), keep_ratio=True)])
    """
    limit = max(size) if size else None  # no edge is longer
    for step in steps:
        if not isinstance(step, dict):
            return None
        name = str(step.get('type', '')).rsplit('.', 1)[-1]
        if name in _KEEPING:
            continue
        scale = _pair(step.get('scale'))
        if name in _TO_A_SIZE:
            size = _pair(step.get(_TO_A_SIZE[name]))
            limit = max(size) if size else None
        elif name == 'Resize' and scale:
            size, limit = (None if step.get('keep_ratio', False) else scale), max(scale)
        elif name == 'RandomCrop':  # smaller images stay as they are
            crop = _pair(step.get('crop_size'))
            absolute = step.get('crop_type', 'absolute') in ('absolute', 'absolute_range')
            size, limit = None, max(crop) if crop and absolute else limit
        elif name == 'Pad':
            target = _pair(step.get('size'))
            size = target if target and limit and min(target) >= limit else None
            limit = max(size) if size else None
        elif name in _MOSAICS:
            scale = _pair(step.get('img_scale', (640, 640)))
            size = (2 * scale[0], 2 * scale[1]) if scale else None
            limit = max(size) if size else None
        elif name == 'RandomAffine' and size:
            border = step.get('border', (0, 0))
            size = (size[0] + 2 * border[0], size[1] + 2 * border[1])
            limit = max(size)
        else:
            size = limit = None
    return size


fixed_size = fixed_pipeline_size  # short, as the modules of this room say it


def _pair(value: Any) -> tuple[int, int] | None:
    """Two whole numbers, an int for both, or None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2 \
            and all(isinstance(one, int) for one in value):
        return value[0], value[1]
    return None


def needs_plain_layout(kind: Any) -> str:
    """Why a module's class must get its feature maps in the plain layout (NCHW), if it must.

    mmcv's compiled operations (RoIAlign, deformable convolution, ...) read memory as if it were
    laid out plainly: given channels-last maps, they refuse them or compute nonsense without a
    word. A class counts as their user if it, or a class it derives from, is one of them or lives
    in a module that imports one.

    Args:
        kind: The class of a part of a model.

    Returns:
        The name of the operation, or an empty string.

    Example:
        >>> needs_plain_layout(torch.nn.Conv2d)
        ''
    """
    for base in inspect.getmro(kind):
        if base.__module__.startswith('mmcv.ops'):
            return base.__name__
        if base.__module__.startswith('mmcv.'):  # imports some only to register them
            continue
        for value in vars(sys.modules.get(base.__module__, object)).values():
            # A compiled operation is often the bound `apply` of an autograd function.
            owner = getattr(value, '__self__', None)
            owner = owner if inspect.isclass(owner) else value
            name = str(getattr(owner, '__name__', ''))
            home = name if inspect.ismodule(owner) else str(getattr(owner, '__module__', ''))
            if home.startswith('mmcv.ops') and name not in _WITHOUT_MAPS:
                return f'{name} in {base.__module__}'
    return ''
