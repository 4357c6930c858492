"""The hook that multiplies the positive loss terms of each box by the box's weight."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ..hook import mixup_transforms
from .base import HeadAdapter
from .families import load_adapter

__all__ = ['MixUpWeightingHook']


@HOOKS.register_module()
class MixUpWeightingHook(Hook):
    """Weights the losses of a detector's heads by ``gt_instances.mixup_weights``.

    Every positive term (class, box, objectness, centerness, mask) that a head computes for a box
    is multiplied by the box's weight; targets stay as they are, background terms are untouched,
    and the denominators (``avg_factor``) too. It acts on the heads of this model, through
    torch's module hooks and instance attributes, from before the training to after it;
    ``state_dict`` is unchanged, and with all weights 1 so is the loss.

    Heads of a family without an adapter (see `families.FAMILIES`) are trained on mixed images
    unweighted; the log names them.

    Attributes:
        weighted_heads: Names of the heads whose losses are weighted, as
            ``bbox_head (YOLOV3Head)``.
        unweighted_heads: Names of the other heads with losses.

    Source: arXiv 1902.04103 section 3.1; gluon-cv ``gluoncv/loss.py`` (YOLOV3Loss).
    """

    def __init__(self) -> None:
        self.weighted_heads: list[str] = []
        self.unweighted_heads: list[str] = []
        self._adapters: list[HeadAdapter] = []
        self._removed_count = 0

    @property
    def weighted_positives(self) -> int:
        """Positives weighted by other than 1 so far, over all heads; synchronises the device."""
        return self._removed_count + sum(adapter.weighted_positives for adapter in self._adapters)

    def before_train(self, runner: Any) -> None:
        """Finds the heads and attaches to those it can weight."""
        self._remove()
        transforms = mixup_transforms(runner.train_dataloader.dataset)
        weighted = self._attach(runner.model, transforms)
        names = {True: [], False: []}  # type: dict[bool, list[str]]
        for path, module in runner.model.named_modules():
            if id(module) in weighted or _has_losses(module):
                names[id(module) in weighted].append(
                    f'{path.removeprefix("module.")} ({type(module).__name__})')
        self.weighted_heads, self.unweighted_heads = names[True], names[False]
        if self.weighted_heads:
            runner.logger.info('MixUpWeightingHook weights the losses of '
                               f'{", ".join(self.weighted_heads)}')
        if self.unweighted_heads:
            runner.logger.warning('MixUpWeightingHook: trained on mixed images, but without '
                                  f'weights: {", ".join(self.unweighted_heads)}')

    def after_train(self, runner: Any) -> None:
        """Detaches from every head."""
        self._remove()

    def _attach(self, model: torch.nn.Module, transforms: list[Any]) -> set[int]:
        """Installs an adapter on every head that can have one; the ids of the parts it weights."""
        weighted: set[int] = set()
        for module in list(model.modules()):
            kind = load_adapter(type(module))
            if kind is None or id(module) in weighted or not kind.supports(module):
                continue
            adapter = kind()
            adapter.install(module, transforms)
            self._adapters.append(adapter)
            weighted.update(id(part) for part in adapter.parts)
        return weighted

    def _remove(self) -> None:
        self._removed_count = self.weighted_positives
        for adapter in reversed(self._adapters):
            adapter.remove()
        self._adapters = []


def _has_losses(module: torch.nn.Module) -> bool:
    return any(name.startswith(('loss', 'criterion')) for name, _ in module.named_children())
