"""Draws a training sample with mmdet's own visualizer, at a size at which it can be read."""

from __future__ import annotations

import warnings
from typing import Any

import mmcv
import numpy as np
from mmdet.visualization import DetLocalVisualizer

from ..plan.errors import TrickError
from .samples import Sample

__all__ = ['Painter', 'tags']


def tags(sample: Sample, classes: Any) -> list[str]:
    """What stands at each box: its class, and its weight where the sample has weights."""
    names = [str(classes[label]) if classes is not None and label < len(classes)
             else f'class {label}' for label in sample.labels]
    if sample.weights is None:
        return names
    return [f'{name} {weight:.2f}' for name, weight in zip(names, sample.weights, strict=True)]


class Painter:
    """Draws samples of one dataset.

    Args:
        metainfo: The dataset's, with ``classes`` and ``palette`` where it has them.
    """

    def __init__(self, metainfo: dict[str, Any]) -> None:
        self._classes = metainfo.get('classes')
        self._visualizer = DetLocalVisualizer(name='tricks browse', line_width=2, alpha=0.7)
        self._palette = list(metainfo.get('palette') or ())

    def draw(self, sample: Sample, factor: float) -> np.ndarray:
        """The sample enlarged by a factor, with boxes, masks and labels; uint8 RGB ``(h, w, 3)``.

        Raises:
            TrickError: If the visualizer cannot draw it.
        """
        h, w = (max(1, round(side * factor)) for side in sample.image.shape[:2])
        image = mmcv.imresize(sample.image, (w, h),
                              interpolation='area' if factor < 1 else 'bicubic')
        data = sample.data.clone()
        for name in ('gt_sem_seg', 'gt_panoptic_seg', 'ignored_instances'):
            data.pop(name, None)
        instances = data.gt_instances
        if not sample.labels:
            return image
        kept = {'labels': instances.labels, 'label_names': tags(sample, self._classes)}
        if 'bboxes' in instances:
            kept['bboxes'] = instances.bboxes * factor
        if 'masks' in instances:
            masks = instances.masks.resize((h, w)).to_ndarray()
            if masks.any():
                kept['masks'] = masks
        data.gt_instances = type(instances)(**kept)
        few = len(self._palette) <= max(sample.labels)
        self._visualizer.dataset_meta = {'classes': self._classes,
                                         'palette': 'random' if few else self._palette}
        try:
            with warnings.catch_warnings():  # of boxes that touch the border
                warnings.simplefilter('ignore', UserWarning)
                self._visualizer.add_datasample('sample', image, data, draw_pred=False)
                return self._visualizer.get_image()
        except Exception as error:  # mmdet asserts and indexes as it goes
            raise TrickError(f"mmdet's visualizer cannot draw sample {sample.index}: "
                             f'{type(error).__name__}: {" ".join(str(error).split())}') from error
