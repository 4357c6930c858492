"""Weighting the losses of AnchorHead and of the heads that share its way to targets."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch
from mmdet.models.losses import GHMC, GHMR
from mmdet.models.task_modules.assigners import UniformAssigner

from ..functional import element_weights
from .anchor_ghm import weighted_ghm
from .base import HeadAdapter
from .losses import ignores_weight
from .tensors import spread, times

__all__ = ['AnchorAdapter', 'CascadeRPNAdapter', 'SABLAdapter', 'StageCascadeRPNAdapter',
           'YOLOFAdapter']

# The least weight: a box that weighs 0 stays a positive where upstream asks for weight > 0.
_LEAST = torch.finfo(torch.float32).tiny


class AnchorAdapter(HeadAdapter):
    """Multiplies the element weights that a head makes together with an image's targets.

    ``_get_targets_single`` is called once per image; in it the sampler is asked which anchor
    belongs to which box. The wrapped sampler notes that, then the weights of the classification
    and of the box regression in the result are multiplied at the positives. They reach the
    losses untouched in AnchorHead, RetinaHead, RetinaSepBNHead, RPNHead, SSDHead (whose hard
    negatives are ranked among themselves) and YOLACTHead; the denominators come from the sampler.

    GHMC and GHMR, which only ask whether an element's weight is above 0, are called so that the
    weights count (`anchor_ghm`). A head with another loss that ignores them is left alone.

    Attributes:
        weighted: Places of the element weights in the result of ``_get_targets_single``.
        sampling: Place of the sampling result in it.
        ghm: Names of the losses that may be GHMC or GHMR.
    """

    needs: ClassVar[tuple[str, ...]] = ('sampler',)
    weighted: tuple[int, ...] = (1, 3)
    sampling = 6
    ghm: tuple[str, ...] = ('loss_cls', 'loss_bbox')

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains, with losses that know weights of elements."""
        return super().supports(head) and all(
            name in cls.ghm and isinstance(loss, (GHMC, GHMR))
            and head.train_cfg.get('pos_weight', -1) <= 0
            for name, loss in head.named_children() if ignores_weight(loss))

    def reset(self) -> None:
        """Forgets the present image's sampling."""
        self._sampled: tuple[Any, torch.Tensor] | None = None

    def attach(self, head: Any) -> None:
        """Wraps the sampler and the targets, and GHM losses."""
        self.attach_targets(head)
        for name in self.ghm:
            loss = getattr(head, name, None)
            if isinstance(loss, (GHMC, GHMR)):
                self.wrap(loss, 'forward', functools.partial(weighted_ghm, loss))

    def attach_targets(self, head: Any) -> None:
        """Wraps the sampler and the targets of one image."""
        self.wrap(head.sampler, 'sample', self._sample)
        self.wrap(head, '_get_targets_single', functools.partial(self._targets, head))

    def _sample(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes one image's sampling and its boxes' weights."""
        sampled = call(*args, **kwargs)
        boxes = kwargs['gt_instances'] if 'gt_instances' in kwargs else args[2]
        self._sampled = sampled, self.weights_of(boxes).clamp(min=_LEAST)
        return sampled

    def noted(self, call: Any, args: Any, kwargs: Any,
              sampling: int) -> tuple[tuple[Any, ...], Any, torch.Tensor]:
        """Calls what makes one image's targets.

        Args:
            call: The method.
            args: For it.
            kwargs: For it.
            sampling: Place of the sampling result in what it returns.

        Returns:
            ``(result, sampling result, weights of the boxes)``.

        Raises:
            ValueError: If the result does not hold what the head's sampler returned.
        """
        self._sampled = None
        result = call(*args, **kwargs)
        if self._sampled is None or len(result) <= sampling or (
                result[sampling] is not self._sampled[0]):
            raise ValueError(
                f'MixUpWeightingHook: {type(self.head).__name__} must return the result of its '
                f'own sampler as item {sampling} of an image\'s targets, as mmdet\'s head of this '
                f'family does; got {len(result)} items')
        (sampled, weights), self._sampled = self._sampled, None
        return result, sampled, weights

    def factors(self, sampled: Any, weights: torch.Tensor) -> torch.Tensor:
        """The weights of an image's positives, ``(num_pos,)``, in the order of their places."""
        factors = weights[sampled.pos_assigned_gt_inds.long()]
        self.count(factors)
        return factors[sampled.pos_inds.argsort()]

    def elements(self, head: Any, result: tuple[Any, ...], factors: torch.Tensor) -> torch.Tensor:
        """The factor of each anchor of an image, ``(num_anchors,)``, from its labels."""
        labels = result[0]
        return spread((labels >= 0) & (labels < head.num_classes), factors)

    def _targets(self, head: Any, call: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Makes one image's targets and multiplies their weights."""
        result, sampled, weights = self.noted(call, args, kwargs, self.sampling)
        return self.multiplied(result, self.elements(head, result, self.factors(sampled, weights)))

    def multiplied(self, result: tuple[Any, ...], elements: torch.Tensor) -> tuple[Any, ...]:
        """An image's targets with its element weights times ``(num_anchors,)`` factors."""
        return tuple(times(item, elements) if place in self.weighted else item
                     for place, item in enumerate(result))


class SABLAdapter(AnchorAdapter):
    """SABLRetinaHead: classification, bucket classification and bucket regression."""

    weighted = (1, 3, 5)
    sampling = 8
    ghm = ('loss_cls',)


class YOLOFAdapter(AnchorAdapter):
    """YOLOFHead: the regression has a list of its own, each box's nearest predictions.

    UniformAssigner lists them in rounds, box 0 to the last and again, with a flag for each that
    becomes the element weight of the regression. A prediction nearest to several boxes is
    regressed to each of them, with each one's weight.
    """

    weighted = (1,)
    sampling = 4
    ghm = ('loss_cls',)

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether the head trains, and assigns as mmdet's does."""
        return super().supports(head) and isinstance(head.assigner, UniformAssigner)

    def _targets(self, head: Any, call: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Makes one image's targets; the flags of the regression become weights."""
        result, sampled, weights = self.noted(call, args, kwargs, self.sampling)
        elements = self.elements(head, result, self.factors(sampled, weights))
        flags = result[5]
        rounds = len(flags) // max(len(weights), 1)
        return (result[0], times(result[1], elements), *result[2:5],
                flags * weights.repeat(rounds), *result[6:])


class StageCascadeRPNAdapter(AnchorAdapter):
    """StageCascadeRPNHead: the targets of AnchorHead or, with a RegionAssigner, of its own.

    The latter are not mapped from the anchors inside the image to all, and their background has
    the label of the only class: there the positives are found by their indices.
    """

    def attach_targets(self, head: Any) -> None:
        """Wraps the sampler and both kinds of targets."""
        super().attach_targets(head)
        self.wrap(head, '_region_targets_single', self._region_targets)

    def _region_targets(self, call: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Makes one image's targets and multiplies their weights."""
        result, sampled, weights = self.noted(call, args, kwargs, self.sampling)
        self.factors(sampled, weights)
        elements = element_weights(len(result[0]), [sampled.pos_inds],
                                   [sampled.pos_assigned_gt_inds], [weights])[0]
        return self.multiplied(result, elements)


class CascadeRPNAdapter(StageCascadeRPNAdapter):
    """CascadeRPNHead, which has no losses of its own: every stage's."""

    @classmethod
    def supports(cls, head: Any) -> bool:
        """Whether every stage can be weighted."""
        return all(super(CascadeRPNAdapter, cls).supports(stage) for stage in head.stages)

    def attach(self, head: Any) -> None:
        """Attaches to every stage."""
        self.parts = list(head.stages)
        for stage in head.stages:
            super().attach(stage)
