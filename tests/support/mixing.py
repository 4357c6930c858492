"""Samples for mixup, mixed without a draw."""

from __future__ import annotations

import numpy as np

from tricks_plugin import GeometryPreservingMixUp


def sample(number, height=5, width=8, boxes=1, **more):
    """A sample of some boxes."""
    return dict(img=np.full((height, width, 3), number, np.uint8), img_id=number,
                gt_bboxes=np.zeros((boxes, 4), np.float32), gt_ignore_flags=np.zeros(boxes, bool),
                gt_bboxes_labels=np.full(boxes, number), **more)


class Fixed(GeometryPreservingMixUp):
    """The draw replaced by lam = 0.25 and the latest partner."""

    def _draw(self, results):
        return (self._cache[-1], 0.25) if self._cache else (None, 1.0)


def mix(first, second, **declared):
    """The first sample mixed with the second."""
    transform = Fixed(**declared)
    transform.transform(second)
    return transform.transform(first)
