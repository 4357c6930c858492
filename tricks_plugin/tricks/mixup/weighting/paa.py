"""Weighting the losses of PAAHead and LADHead, whose positives depend on the predictions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from mmdet.structures.bbox import get_box_tensor

from .atss import ATSSAdapter
from .tensors import select

__all__ = ['LADAdapter', 'PAAAdapter']


class PAAAdapter(ATSSAdapter):
    """Weights what is left of the positives after PAAHead's selection by a mixture model.

    The selection ranks candidates by their losses, which stay without weights; the candidates
    that it turns into background keep factor 1. The losses that follow get the predictions image
    by image.
    """

    needs = ('sampler', 'paa_reassign')
    targets: ClassVar[dict[str, int]] = {'get_targets': 0}
    steps: ClassVar[tuple[str, ...]] = ()

    def attach(self, head: Any) -> None:
        """Wraps the selection too."""
        super().attach(head)
        self.wrap(head, 'paa_reassign', self._reassign)

    def reset(self) -> None:
        """Forgets the batch's selection too."""
        super().reset()
        self._selected: list[tuple[torch.Tensor, int]] = []

    def _targets(self, place: int, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One assignment of all images: the candidates, with labels image by image."""
        self._sampled, self._selected = [], []
        results = call(*args, **kwargs)
        self._spread([torch.stack(list(results[place]))])
        return results

    def _reassign(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes one image's selection; the losses follow that of the last image."""
        results = call(*args, **kwargs)
        self._selected.append((results[0], results[3]))
        if len(self._selected) == len(self._sampled):
            labels, counts = zip(*self._selected, strict=True)
            mask = self.foreground(torch.cat(labels))
            self._level = torch.where(mask, self._levels[0], 1.0)
            self._positives = select(self._level, mask, sum(counts))
            self.count(self._positives)
        return results


class LADAdapter(ATSSAdapter):
    """Weights LADHead as a student: its teacher's head assigns, and tells labels and boxes.

    Which box of the ground truth a positive belongs to is found by comparing the boxes, which
    the assignment copies. Of boxes that are equal in one image, class included, the first counts.
    """

    targets: ClassVar[dict[str, int]] = {}
    steps: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains, with boxes and not their encodings as targets."""
        return super().supports(head) and bool(head.reg_decoded_bbox)

    def batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One batch, with which the teacher's assignment comes."""
        return super().batch(self._matched, call, *args, **kwargs)

    def _matched(self, call: Any, cls_scores: Any, bbox_preds: Any, iou_preds: Any,
                 batch_gt_instances: Any, batch_img_metas: Any,
                 batch_gt_instances_ignore: Any = None,
                 label_assignment_results: Any = None) -> Any:
        self._match(label_assignment_results, batch_gt_instances)
        return call(cls_scores, bbox_preds, iou_preds, batch_gt_instances, batch_img_metas,
                    batch_gt_instances_ignore=batch_gt_instances_ignore,
                    label_assignment_results=label_assignment_results)

    def _match(self, assignment: Any, batch_gt_instances: Any) -> None:
        """Gives each prediction its factor.

        Args:
            assignment: The teacher's, of all images' predictions: labels, their weights, boxes,
                the boxes' weights, positives; then what is not needed here.
            batch_gt_instances: Per image.
        """
        labels, _, targets, _, positives = assignment[:5]
        weights = torch.cat([self.weights_of(item) for item in batch_gt_instances])
        boxes = torch.cat([get_box_tensor(item.bboxes) for item in batch_gt_instances])
        classes = torch.cat([item.labels for item in batch_gt_instances])
        images = torch.cat([item.labels.new_full((len(item),), number)
                            for number, item in enumerate(batch_gt_instances)])
        self._positives = weights.new_ones(len(positives))
        if len(positives) and len(boxes):
            image = positives // (len(labels) // len(batch_gt_instances))
            equal = ((targets[positives][:, None] == boxes).all(-1)
                     & (labels[positives][:, None] == classes) & (image[:, None] == images))
            matched = weights[equal.to(torch.uint8).argmax(1)]
            self._positives = torch.where(equal.any(1), matched, self._positives)
        self._level = weights.new_ones(len(labels)).index_copy_(0, positives, self._positives)
        self.count(self._positives)
