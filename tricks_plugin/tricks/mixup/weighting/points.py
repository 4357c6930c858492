"""Weighting FCOSHead, NASFCOSHead, FoveaHead and the box heads of CondInst and BoxInst."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from .base import HeadAdapter
from .losses import LossCall
from .named_boxes import factors_of, name_boxes
from .tensors import select

__all__ = ['CondInstBboxAdapter', 'FCOSAdapter', 'FoveaAdapter', 'PointsAdapter']


class PointsAdapter(HeadAdapter):
    """Heads that give each point of their feature maps to one box or to the background.

    The head asks `_get_targets_single` once per image, in order. The class loss is called once
    with all points, ordered by level, then by image; the other losses once with the positives
    alone, in the same order, if there are any. A family notes each image's points. Denominators
    come from targets and counts.
    """

    losses: ClassVar[tuple[str, ...]] = ('loss_cls', 'loss_bbox', 'loss_centerness')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss and an image's targets, and weighs the losses."""
        self.begin(head)
        self.wrap(head, '_get_targets_single', self._targets)
        for name in self.losses:
            self.weigh(getattr(head, name),
                       self._of_all if name == 'loss_cls' else self._of_positives)

    def reset(self) -> None:
        """Forgets the batch's points."""
        self._images: list[list[tuple[torch.Tensor, torch.Tensor]]] = []
        self._joined: tuple[torch.Tensor, torch.Tensor] | None = None

    def note(self, factors: list[torch.Tensor], positives: list[torch.Tensor]) -> None:
        """Notes the next image.

        Args:
            factors: Per level, each point's factor, 1 in the background; any shape.
            positives: Of the same shapes, whether the point belongs to a box.
        """
        self._images.append([(factor.flatten(), positive.flatten())
                             for factor, positive in zip(factors, positives, strict=True)])

    def _targets(self, call: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _points(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All points' factors and whether they are positive, in the order of the losses."""
        if self._joined is None:
            points = [point for level in zip(*self._images, strict=True) for point in level]
            factors, positives = (torch.cat(parts) for parts in zip(*points, strict=True))
            self.count(factors)
            self._joined = factors, positives
        return self._joined

    def _of_all(self, loss: LossCall) -> torch.Tensor | None:
        if not self._images:
            return None
        factors, _ = self._points()
        if len(factors) != len(loss.pred):
            raise ValueError(
                f'MixUpWeightingHook: loss_cls of {type(self.head).__name__} must get the '
                f'{len(factors)} points that _get_targets_single gave, got {len(loss.pred)}')
        return factors

    def _of_positives(self, loss: LossCall) -> torch.Tensor | None:
        if not self._images:
            return None
        factors, positives = self._points()
        return select(factors, positives, len(loss.pred))


class FCOSAdapter(PointsAdapter):
    """FCOS and NAS-FCOS: class, box (weighted by centerness) and centerness of each positive."""

    upstream = ('_get_targets_single',)

    def _targets(self, call: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights_of(gt_instances)
        names, *others = call(name_boxes(gt_instances), *args, **kwargs)
        labels, factors = factors_of(names, gt_instances.labels, weights)
        sizes = kwargs['num_points_per_lvl']
        self.note(factors.split(sizes), (names < 0).split(sizes))
        return (labels, *others)


class FoveaAdapter(PointsAdapter):
    """FoveaBox: class and box of each positive; labels are painted level by level."""

    losses = ('loss_cls', 'loss_bbox')
    upstream = ('_get_targets_single',)

    def _targets(self, call: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights_of(gt_instances)
        names, *others = call(name_boxes(gt_instances), *args, **kwargs)
        labels, factors = zip(*[factors_of(level, gt_instances.labels, weights)
                                for level in names], strict=True)
        self.note(list(factors), [level < 0 for level in names])
        return (list(labels), *others)


class CondInstBboxAdapter(PointsAdapter):
    """CondInst and BoxInst: as FCOS; the targets tell the box of each positive."""

    def _targets(self, call: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights_of(gt_instances)
        targets = call(gt_instances, *args, **kwargs)
        labels, _, positives, boxes = targets
        factors = weights.new_ones(len(labels))
        factors[positives] = weights[boxes]
        sizes = kwargs['num_points_per_lvl']
        self.note(factors.split(sizes), (
            (labels >= 0) & (labels < self.head.num_classes)).split(sizes))
        return targets
