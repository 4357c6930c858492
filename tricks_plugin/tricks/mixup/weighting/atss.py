"""Weighting the losses of ATSSHead and of the heads that compute theirs in the same way."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from mmdet.models.losses import VarifocalLoss

from .base import HeadAdapter
from .losses import LossCall, accept_weight
from .tensors import select, spread

__all__ = ['ATSSAdapter', 'DDODAdapter', 'GFLAdapter', 'TOODAdapter', 'VFNetAdapter']


class ATSSAdapter(HeadAdapter):
    """Multiplies the element weights of a head that assigns first and then loops over levels.

    The head's sampler is asked once per image which prediction belongs to which box; the labels
    that the head makes of all images' answers tell where among all predictions the positives are
    (anchors outside of the image are no part of the sampler's numbering). Then the head makes the
    losses of one level after the other: some losses get all predictions of the level, with the
    labels' weight, others the positives alone. The wrapped methods learn the former and follow
    the latter; each loss module's ``weight`` is multiplied. Denominators, that some heads sum up
    from the same weights, are not touched.

    Attributes:
        targets: Name of each method that makes the targets, with the place of the labels (one
            tensor per level) among what it returns.
        steps: The methods that make one level's losses, each called once per level, in order.
        rows: The losses, with how many rows they get per positive; 0: one for every prediction.

    Source: mmdet ``models/dense_heads/atss_head.py`` (loss_by_feat).
    """

    needs: ClassVar[tuple[str, ...]] = ('sampler',)
    targets: ClassVar[dict[str, int]] = {'get_targets': 1}
    steps: ClassVar[tuple[str, ...]] = ('loss_by_feat_single',)
    rows: ClassVar[dict[str, int]] = {'loss_cls': 0, 'loss_bbox': 1, 'loss_centerness': 1}

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains, with losses of its own, each of which minds its weight."""
        return (super().supports(head) and accept_weight(head, cls._losses_of(head))
                and all(hasattr(head, name) for name in (*cls.targets, *cls.steps)))

    @classmethod
    def _losses_of(cls, head: Any) -> list[str]:
        return [name for name in cls.rows if getattr(head, name, None) is not None]

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, sampler, targets and levels, and weighs the losses."""
        self.begin(head)
        self.wrap(head.sampler, 'sample', self._sample)
        for name, place in self.targets.items():
            self.wrap(head, name, functools.partial(self._targets, place))
        for name in self.steps:
            self.wrap(head, name, self._step)
        for name in self._losses_of(head):
            # Without a weight, losses have the shape of the predictions, or an IoU's per row.
            self.weigh(getattr(head, name), functools.partial(self._factors, name),
                       elementwise=True)

    def reset(self) -> None:
        """Forgets the batch's assignment."""
        self._sampled: list[torch.Tensor] = []  # per image, the factors of its positives
        self._levels: list[torch.Tensor] = []  # of the levels to come, one factor per prediction
        self._level: torch.Tensor | None = None  # of the level whose losses are being made
        self._positives = torch.empty(0)  # of all positives, level by level
        self._begin = self._end = 0  # the present level's place in them

    def _sample(self, call: Any, assign_result: Any, pred_instances: Any, gt_instances: Any,
                *args: Any, **kwargs: Any) -> Any:
        """Notes the weights of one image's positives, in the order of the predictions."""
        sampled = call(assign_result, pred_instances, gt_instances, *args, **kwargs)
        boxes = sampled.pos_assigned_gt_inds[sampled.pos_inds.argsort()]
        self._sampled.append(self.weights_of(gt_instances)[boxes.long()])
        return sampled

    def _targets(self, place: int, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One assignment of all images."""
        self._sampled = []
        results = call(*args, **kwargs)
        if results is not None:
            self._spread(results[place])
            self.count(self._positives)
        return results

    def _spread(self, labels: Sequence[torch.Tensor]) -> None:
        """Gives each prediction its factor.

        Args:
            labels: Per level, ``(images, predictions)`` or the same flattened.

        Raises:
            ValueError: If the sampler was not asked.
        """
        if not self._sampled:
            raise ValueError(f'{type(self.head).__name__} must ask its sampler once per image for '
                             'MixUpWeightingHook to weight its losses; it asked for none')
        sampled = torch.cat(self._sampled)
        masks = [self.foreground(level).reshape(len(self._sampled), -1) for level in labels]
        factors = spread(torch.cat(masks, 1), sampled)
        sizes = [level.shape[1] for level in masks]
        self._levels = [level.reshape(-1) for level in factors.split(sizes, dim=1)]
        self._positives = select(torch.cat(self._levels),
                                 torch.cat([level.reshape(-1) for level in masks]), len(sampled))
        self._begin = self._end = 0

    def foreground(self, labels: torch.Tensor) -> torch.Tensor:
        """Where labels are those of positives, as a mask."""
        return (labels >= 0) & (labels < self.head.num_classes)

    def _step(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One level's losses.

        Raises:
            ValueError: If no targets were made for the level.
        """
        if not self._levels:
            raise ValueError(f'{type(self.head).__name__} must call {" or ".join(self.targets)} '
                             f'and then {" or ".join(self.steps)} once per level for '
                             'MixUpWeightingHook to weight its losses; it has no level left')
        self._level = self._levels.pop(0)
        try:
            return call(*args, **kwargs)
        finally:
            self._level = None
            self._begin = self._end

    def _factors(self, name: str, loss: LossCall) -> torch.Tensor | None:
        """The factors of a loss's rows.

        Raises:
            ValueError: If the loss does not have the rows that were assigned.
        """
        if self._level is None:
            return None
        given, per_positive, factors = len(loss.pred), self.rows[name], self._level
        if per_positive:
            self._end = self._begin + given // per_positive
            factors = self._positives[self._begin:self._end].repeat_interleave(per_positive)
        if len(factors) != given:
            rows = f'{per_positive} per positive' if per_positive else 'one per prediction'
            raise ValueError(f'{name} of {type(self.head).__name__} must get {rows} for '
                             f'MixUpWeightingHook to weight it: {len(factors)}, got {given}')
        return factors


class GFLAdapter(ATSSAdapter):
    """Weights GFLHead and LDHead: one row per side of a positive in the distributions' losses.

    LDHead's distillation is a box loss of its positives, with the teacher's distribution as
    target: weighted like the others.
    """

    rows: ClassVar[dict[str, int]] = {'loss_cls': 0, 'loss_bbox': 1, 'loss_dfl': 4, 'loss_ld': 4}


class TOODAdapter(ATSSAdapter):
    """Weights TOODHead, in the epochs of either assigner."""

    rows: ClassVar[dict[str, int]] = {'loss_cls': 0, 'initial_loss_cls': 0, 'loss_bbox': 1}


class DDODAdapter(ATSSAdapter):
    """Weights DDODHead, which assigns once for the class and once for the box losses.

    Its loss of the IoU is called with all predictions, the background's weight being 0.
    """

    targets: ClassVar[dict[str, int]] = {'get_cls_targets': 1, 'get_reg_targets': 1}
    steps: ClassVar[tuple[str, ...]] = ('loss_cls_by_feat_single', 'loss_reg_by_feat_single')
    rows: ClassVar[dict[str, int]] = {'loss_cls': 0, 'loss_bbox': 1, 'loss_iou': 0}


class VFNetAdapter(ATSSAdapter):
    """Weights VFNetHead, which makes the losses of all levels at once."""

    targets: ClassVar[dict[str, int]] = {'get_targets': 0}
    steps: ClassVar[tuple[str, ...]] = ()
    rows: ClassVar[dict[str, int]] = {'loss_cls': 0, 'loss_bbox': 1, 'loss_bbox_refine': 1}

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether it trains with ATSS, and a class loss whose weight is understood.

        With ``use_atss=False`` points are assigned without a sampler. With ``use_vfl`` the class
        loss gets no weight, and only VarifocalLoss is known to take one per prediction and class.
        """
        if not getattr(head, 'use_atss', False) or not super().supports(head):
            return False
        return not head.use_vfl or isinstance(head.loss_cls, VarifocalLoss)

    def _spread(self, labels: Sequence[torch.Tensor]) -> None:
        super()._spread(labels)
        self._level = torch.cat(self._levels)
