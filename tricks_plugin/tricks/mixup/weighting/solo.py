"""Weighting the losses of SOLOHead, DecoupledSOLOHead, DecoupledSOLOLightHead and SOLOV2Head."""

from __future__ import annotations

from typing import Any

import torch

from ....common.wrapped import During
from .base import HeadAdapter
from .losses import LossCall
from .named_boxes import factors_of, name_boxes
from .tensors import select

__all__ = ['SOLOAdapter', 'SOLOV2Adapter']


class SOLOAdapter(HeadAdapter):
    """Weights the class of each grid cell that a box owns, and the dice loss of its masks.

    The head asks `_get_targets_single` once per image for labels painted on one grid per level,
    and the masks of the cells that are not background. The mask loss is called once for each
    level with positives, the class loss once with all cells, by level, then by image.
    """

    losses = ('loss_cls', 'loss_mask')
    upstream = ('_get_targets_single', 'loss_by_feat')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss and an image's targets, and weighs the losses."""
        self.begin(head)
        self.wrap(head, '_get_targets_single', self._targets)
        self.weigh(head.loss_cls, self._of_cells)
        self.weigh(head.loss_mask, self._of_masks)

    def reset(self) -> None:
        """Forgets the batch's cells and masks."""
        self._cells: list[list[torch.Tensor]] = []
        self._masks: list[list[torch.Tensor]] = []
        self._levels: list[torch.Tensor] | None = None

    def _targets(self, call: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights_of(gt_instances)
        masks, names, *others = call(name_boxes(gt_instances), *args, **kwargs)
        factors = self._paint(names, gt_instances, weights)
        self._masks.append([
            select(factor.flatten(), (level < 0).flatten(), len(mask))
            for factor, level, mask in zip(factors, names, masks, strict=True)])
        return (masks, self._painted, *others)

    def _paint(self, names: list[torch.Tensor], gt_instances: Any, weights: torch.Tensor,
               ) -> list[torch.Tensor]:
        """Notes the cells' factors, and puts the boxes' labels in the place of their names."""
        labels, factors = zip(*[factors_of(level, gt_instances.labels, weights)
                                for level in names], strict=True)
        self._painted = list(labels)
        self._cells.append([factor.flatten() for factor in factors])
        return list(factors)

    def _of_cells(self, loss: LossCall) -> torch.Tensor | None:
        if not self._cells:
            return None
        factors = torch.cat([image for level in zip(*self._cells, strict=True) for image in level])
        self.count(factors)
        return factors

    def _of_masks(self, loss: LossCall) -> torch.Tensor | None:
        if not self._masks:
            return None
        if self._levels is None:
            levels = [torch.cat(level) for level in zip(*self._masks, strict=True)]
            self._levels = [level for level in levels if len(level)]
        return self._levels.pop(0)


class SOLOV2Adapter(SOLOAdapter):
    """SOLOv2: as SOLO; where two boxes own a cell, it learns both masks and one class.

    So masks are not told by the painted labels alone, but by each single painting: the head
    assigns a box's name to a block of cells, and lists as many masks.
    """

    def _targets(self, call: Any, gt_instances: Any, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights_of(gt_instances)
        blocks: list[torch.Tensor] = []

        def note(arguments: Any, _: Any, result: Any) -> Any:
            _, place, name = arguments
            if isinstance(name, torch.Tensor) and name.dim() == 0:
                rows, columns = (max(0, side.stop - side.start) for side in place)
                blocks.append(name.expand(rows * columns))
            return result

        with During(torch.Tensor.__setitem__, note):
            masks, names, *others = call(name_boxes(gt_instances), *args, **kwargs)
        self._paint(names, gt_instances, weights)
        boxes = -1 - torch.cat([names[0].new_zeros(0), *blocks])
        self._masks.append(list(weights[boxes].split([len(level) for level in masks])))
        return (masks, self._painted, *others)
