"""The hook that multiplies the positive loss terms of each box by the box's weight."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from .hook import mixup_transforms
from .yolov3 import YOLOV3Adapter

__all__ = ['ADAPTERS', 'HeadAdapter', 'MixUpWeightingHook']


class HeadAdapter(Protocol):
    """What weights the losses of one family of heads. One instance per head."""

    @classmethod
    def supports(cls, head: torch.nn.Module) -> bool:
        """Whether the head, as it is built, can be weighted."""

    def install(self, head: torch.nn.Module, transforms: list[Any]) -> None:
        """Attaches to this head; ``transforms`` are the training's mixup transforms."""

    def remove(self) -> None:
        """Leaves the head as it was."""

    @property
    def weighted_positives(self) -> int:
        """Positives whose loss was multiplied by a weight other than 1; may synchronise."""


ADAPTERS: list[type[HeadAdapter]] = [YOLOV3Adapter]


@HOOKS.register_module()
class MixUpWeightingHook(Hook):
    """Weights the losses of a detector's heads by ``gt_instances.mixup_weights``.

    Every positive term (class, box, objectness) that a head computes for a box is multiplied by
    the box's weight; targets stay as they are, background terms are untouched, and the
    denominators (``avg_factor``) too. It acts on the heads of this model, through torch's module
    hooks and an instance attribute, from before the training to after it; ``state_dict`` is
    unchanged, and with all weights 1 so is the loss.

    Heads of a family without an adapter (`ADAPTERS`) are trained on mixed images unweighted;
    the log names them.

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
        self.weighted_heads, self.unweighted_heads = [], []
        transforms = mixup_transforms(runner.train_dataloader.dataset)
        for path, module in runner.model.named_modules():
            adapter = next((kind for kind in ADAPTERS if kind.supports(module)), None)
            name = f'{path.removeprefix("module.")} ({type(module).__name__})'
            if adapter is not None:
                self._adapters.append(adapter())
                self._adapters[-1].install(module, transforms)
                self.weighted_heads.append(name)
            elif _has_losses(module):
                self.unweighted_heads.append(name)
        if self.weighted_heads:
            runner.logger.info('MixUpWeightingHook weights the losses of '
                               f'{", ".join(self.weighted_heads)}')
        if self.unweighted_heads:
            runner.logger.warning('MixUpWeightingHook: trained on mixed images, but without '
                                  f'weights: {", ".join(self.unweighted_heads)}')

    def after_train(self, runner: Any) -> None:
        """Detaches from every head."""
        self._remove()

    def _remove(self) -> None:
        self._removed_count = self.weighted_positives
        for adapter in self._adapters:
            adapter.remove()
        self._adapters = []


def _has_losses(module: torch.nn.Module) -> bool:
    return any(name.startswith('loss') for name, _ in module.named_children())
