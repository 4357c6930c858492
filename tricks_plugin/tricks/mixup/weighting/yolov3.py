"""Weighting the losses of mmdet's YOLOV3Head."""

from __future__ import annotations

import functools
from typing import Any

import torch

from ..functional import element_weights
from .base import HeadAdapter
from .losses import LossCall

__all__ = ['YOLOV3Adapter']


class YOLOV3Adapter(HeadAdapter):
    """Multiplies the element weights that YOLOV3Head passes to its four losses.

    The head's sampler is asked once per image, in order, which prediction belongs to which box;
    then the head calls each loss once per level, in order, with its mask of elements as
    ``weight``: positives for class, centre and size, positives and negatives for objectness.
    The wrapped sampler learns the former, each loss's call multiplies the latter.

    Source: gluon-cv ``gluoncv/loss.py`` (YOLOV3Loss): objectness target 1, and objectness,
    centre, scale and class losses of a positive times the box's ratio.
    """

    needs = ('sampler',)
    losses = ('loss_cls', 'loss_conf', 'loss_xy', 'loss_wh')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss and the sampler, and weighs the four losses."""
        self.begin(head)
        self.wrap(head.sampler, 'sample', self._sample)
        for name in self.losses:
            self.weigh(getattr(head, name), functools.partial(self._next_level, name))

    def reset(self) -> None:
        """Forgets the batch's assignments."""
        self._assigned: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._num_elements = 0
        self._elements: torch.Tensor | None = None
        self._used = dict.fromkeys(self.losses, 0)

    def _sample(self, call: Any, assign_result: Any, pred_instances: Any, gt_instances: Any,
                *args: Any, **kwargs: Any) -> Any:
        """Notes one image's assignment."""
        sampled = call(assign_result, pred_instances, gt_instances, *args, **kwargs)
        self._assigned.append((sampled.pos_inds, sampled.pos_assigned_gt_inds,
                               self.weights_of(gt_instances)))
        self._num_elements = len(pred_instances.priors)
        return sampled

    def _next_level(self, name: str, loss: LossCall) -> torch.Tensor | None:
        """The element weights of the next level, ``(images, elements)``.

        Raises:
            ValueError: If the loss's weight does not have the shape that was assigned.
        """
        if not self._assigned:
            return None
        if self._elements is None:
            positives, boxes, weights = zip(*self._assigned, strict=True)
            self._elements = element_weights(self._num_elements, positives, boxes, weights)
            self.count(self._elements)
        weight = loss.weight
        begin = self._used[name]
        end = begin + weight.shape[1] if weight is not None else -1
        if weight is None or len(weight) != len(self._elements) or end > self._num_elements:
            got = None if weight is None else tuple(weight.shape)
            raise ValueError(
                f'MixUpWeightingHook: {name} must be called once per level with a weight of shape '
                f'(images, elements, ...), {tuple(self._elements.shape)} over all levels; got '
                f'{got} at element {begin}')
        self._used[name] = end
        return self._elements[:, begin:end]
