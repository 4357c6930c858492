"""Packing that carries each box's weight into the data sample."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from mmdet.datasets.transforms import PackDetInputs
from mmengine.registry import TRANSFORMS

from .functional import planar_image

__all__ = ['PackWeightedDetInputs']


@TRANSFORMS.register_module()
class PackWeightedDetInputs(PackDetInputs):
    """mmdet's PackDetInputs, with ``gt_mixup_weights`` as ``gt_instances.mixup_weights``.

    The weights are split between ``gt_instances`` and ``ignored_instances`` as the boxes are.
    A sample without weights gets weights of 1. A subclass may name further values in its
    ``mapping_table``; the weights are added to it.

    Args: those of mmdet's PackDetInputs.

    Raises:
        ValueError: From a sample, if boxes and weights differ in number.
    """

    keeps_image_size = True  # `runtime` asks
    mapping_table: ClassVar[dict[str, str]] = {
        **PackDetInputs.mapping_table, 'gt_mixup_weights': 'mixup_weights',
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In the instance: a subclass's own table may have left the weights out.
        self.mapping_table = {**self.mapping_table,  # type: ignore[misc]
                              'gt_mixup_weights': 'mixup_weights'}

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs one sample: ``inputs`` (tensor) and ``data_samples`` (DetDataSample)."""
        if results.get('gt_bboxes') is not None:
            num_boxes = len(results['gt_bboxes'])
            weights = results.get('gt_mixup_weights')
            if weights is None:
                weights = np.ones(num_boxes, np.float32)
            if len(weights) != num_boxes:
                raise ValueError(
                    f'gt_mixup_weights must have one weight per box, got {len(weights)} for '
                    f'{num_boxes} boxes: a transform after GeometryPreservingMixUp changed the '
                    'boxes without their weights; put it before, so that only the packing follows')
            results = {**results, 'gt_mixup_weights': np.asarray(weights, np.float32)}
        image = results.get('img')
        if isinstance(image, np.ndarray) and image.ndim == 3:
            # mmdet transposes an image that is not contiguous in NumPy: of this one, for nothing.
            results = {**results, 'img': planar_image(image)}
        return super().transform(results)
