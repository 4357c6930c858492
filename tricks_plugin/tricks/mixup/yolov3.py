"""Weighting the losses of mmdet's YOLOV3Head."""

from __future__ import annotations

import functools
from typing import Any

import torch
from mmdet.models.dense_heads import YOLOV3Head

from .functional import element_weights

__all__ = ['YOLOV3Adapter']

_LOSSES = ('loss_cls', 'loss_conf', 'loss_xy', 'loss_wh')


class YOLOV3Adapter:
    """Multiplies the element weights that YOLOV3Head passes to its four losses.

    The head's sampler is asked once per image, in order, which prediction belongs to which box;
    then the head calls each loss once per level, in order, with its mask of elements as
    ``weight``: positives for class, centre and size, positives and negatives for objectness.
    A recording proxy in the sampler's place learns the former, a pre-hook on each loss
    multiplies the latter.

    Source: gluon-cv ``gluoncv/loss.py`` (YOLOV3Loss): objectness target 1, and objectness,
    centre, scale and class losses of a positive times the box's ratio.
    """

    def __init__(self) -> None:
        self._head: Any = None
        self._handles: list[Any] = []
        self._state = _BatchWeights([])

    @classmethod
    def supports(cls, head: torch.nn.Module) -> bool:
        """Whether it is a YOLOV3Head (or derived) that trains, with four losses of its own."""
        if not isinstance(head, YOLOV3Head) or getattr(head, 'sampler', None) is None:
            return False
        return len({id(getattr(head, name)) for name in _LOSSES}) == len(_LOSSES)

    def install(self, head: torch.nn.Module, transforms: list[Any]) -> None:
        """Attaches to a head that `supports` accepts."""
        self._head = head
        state = self._state = _BatchWeights(transforms)
        self._head.sampler = _RecordingSampler(self._head.sampler, state)
        self._handles = [head.register_forward_pre_hook(state.start)]
        for name in _LOSSES:
            self._handles.append(getattr(head, name).register_forward_pre_hook(
                functools.partial(state.weigh, name), with_kwargs=True))

    def remove(self) -> None:
        """Gives the head its own sampler back, and takes the module hooks off."""
        if self._head is not None:
            self._head.sampler = self._head.sampler.wrapped
        for handle in self._handles:
            handle.remove()
        self._head, self._handles = None, []

    @property
    def weighted_positives(self) -> int:
        """Positives weighted by other than 1 so far; synchronises the device."""
        return int(self._state.weighted_positives)


class _BatchWeights:
    """The element weights of the batch in hand. Holds no module, so a model's copy can have one.

    Args:
        transforms: The training's mixup transforms: while one of them is enabled, a sample
            without weights is an error.
    """

    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms
        self.weighted_positives: torch.Tensor | int = 0
        self._reset()

    def _reset(self) -> None:
        self._assigned: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._num_elements = 0
        self._elements: torch.Tensor | None = None
        self._used = dict.fromkeys(_LOSSES, 0)

    def start(self, module: torch.nn.Module, args: Any) -> None:
        """Pre-hook of the head: a new batch begins."""
        self._reset()

    def record(self, sampled: Any, num_elements: int, gt_instances: Any) -> None:
        """Notes one image's assignment.

        Raises:
            ValueError: If the image's boxes have no weights although mixup is on.
        """
        weights = gt_instances.get('mixup_weights')
        if weights is None:
            if any(transform.enabled for transform in self.transforms):
                raise ValueError(
                    'gt_instances must hold mixup_weights while GeometryPreservingMixUp is on, '
                    f'got {sorted(gt_instances.keys())}: pack the training samples with '
                    "type='tricks_plugin.PackWeightedDetInputs'")
            weights = torch.ones(len(gt_instances), device=sampled.pos_inds.device)
        if self._elements is not None:  # a head that computes its targets twice per forward
            self._reset()
        self._assigned.append((sampled.pos_inds, sampled.pos_assigned_gt_inds, weights))
        self._num_elements = num_elements

    def weigh(self, name: str, module: torch.nn.Module, args: tuple[Any, ...],
              kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Pre-hook of a loss: multiplies its ``weight`` by the next level's element weights.

        Raises:
            ValueError: If the loss's weight does not have the shape that was assigned.
        """
        if not self._assigned:
            return None
        if self._elements is None:
            positives, boxes, weights = zip(*self._assigned, strict=True)
            self._elements = element_weights(self._num_elements, positives, boxes, weights)
            self.weighted_positives = self.weighted_positives + (self._elements != 1).sum()
        weight = kwargs.get('weight')
        begin = self._used[name]
        end = begin + weight.shape[1] if weight is not None else -1
        if weight is None or len(weight) != len(self._elements) or end > self._num_elements:
            got = None if weight is None else tuple(weight.shape)
            raise ValueError(
                f'MixUpWeightingHook: {name} must be called once per level with a weight of shape '
                f'(images, elements, ...), {tuple(self._elements.shape)} over all levels; got '
                f'{got} at element {begin}')
        self._used[name] = end
        factor = self._elements[:, begin:end].to(weight.dtype)
        factor = factor.reshape(factor.shape + (1,) * (weight.dim() - 2))
        return args, {**kwargs, 'weight': weight * factor}


class _RecordingSampler:
    """A head's sampler, with every sampling noted in a `_BatchWeights`."""

    def __init__(self, wrapped: Any, state: _BatchWeights) -> None:
        self.wrapped = wrapped
        self.state = state

    def sample(self, assign_result: Any, pred_instances: Any, gt_instances: Any,
               *args: Any, **kwargs: Any) -> Any:
        """As the wrapped sampler's."""
        sampled = self.wrapped.sample(assign_result, pred_instances, gt_instances,
                                      *args, **kwargs)
        self.state.record(sampled, len(pred_instances.priors), gt_instances)
        return sampled

    def __getattr__(self, name: str) -> Any:
        if name in ('wrapped', 'state') or name.startswith('__'):
            raise AttributeError(name)  # asked for before __init__, by copy and pickle
        return getattr(self.wrapped, name)
