"""Weighting the heads that paint key points on heatmaps: CenterNet, CornerNet, CentripetalNet."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch

from .base import HeadAdapter
from .losses import LossCall

__all__ = ['CenterNetAdapter', 'CentripetalAdapter', 'CornerAdapter', 'paint']


def paint(size: int, places: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """A map of ones with weights at places; the last one where several share a place.

    Args:
        size: Length of the flattened map.
        places: Index per box, ``(num_boxes,)`` int64.
        weights: Per box, ``(num_boxes,)``.

    Returns:
        ``(size,)`` of the weights' dtype.
    """
    if len(places):
        same = places[:, None] == places[None]
        last = (same * torch.arange(len(places), device=places.device)).amax(dim=1)
        weights = weights[last]
    return weights.new_ones(size).index_put((places,), weights)


class _KeyPointAdapter(HeadAdapter):
    """Heads whose targets are maps with a 1 at the pixel of a box's key point.

    That pixel, in the channel of the box's class, is the box's positive; the gaussian around it
    lowers the negatives' loss and stays. Sizes and offsets are learnt at the pixel as well. The
    targets do not tell which box owns a pixel, so the pixels are computed as upstream does.
    """

    upstream: ClassVar[tuple[str, ...]] = ('get_targets',)

    def batch(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """One batch; keeps the boxes' weights, which the targets are not given."""
        return super().batch(self._with_boxes, call, *args, **kwargs)

    def reset(self) -> None:
        """Forgets the batch's boxes and maps."""
        self._weights: list[torch.Tensor] = []
        self._maps: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def _with_boxes(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        instances = kwargs.get('batch_gt_instances')
        if instances is None:
            instances = next(arg for arg in args if _are_instances(arg))
        self._weights = [self.weights_of(item) for item in instances]
        self.count(torch.cat(self._weights))
        return call(*args, **kwargs)

    def _of_map(self, which: int, loss: LossCall) -> torch.Tensor | None:
        """The factors of the heatmap (0) or class-agnostic map (1) that a loss has as target."""
        maps = self._maps.get(id(loss.target))
        return None if maps is None else maps[which]

    def _paint(self, points: list[tuple[torch.Tensor, torch.Tensor]],
               labels: list[torch.Tensor], shape: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The factors of a heatmap and of a class-agnostic map.

        Args:
            points: Per image, the boxes' rows and columns, ``(num_boxes,)`` int64.
            labels: Per image.
            shape: ``(images, classes, height, width)``.

        Returns:
            ``(images, classes, height, width)`` and ``(images, 1, height, width)``.
        """
        images, classes, height, width = (int(side) for side in shape)
        heat, plain = [], []
        for (rows, columns), label, weights in zip(points, labels, self._weights, strict=True):
            pixels = rows * width + columns
            heat.append(paint(classes * height * width, label * height * width + pixels, weights))
            plain.append(paint(height * width, pixels, weights))
        return (torch.stack(heat).view(images, classes, height, width),
                torch.stack(plain).view(images, 1, height, width))


class CenterNetAdapter(_KeyPointAdapter):
    """CenterNet: the heatmap at a box's centre, its width and height, its offset."""

    losses = ('loss_center_heatmap', 'loss_wh', 'loss_offset')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss and targets, and weighs the losses."""
        self.begin(head)
        self.wrap(head, 'get_targets', self._targets)
        self.weigh(head.loss_center_heatmap, functools.partial(self._of_map, 0))

    def _targets(self, call: Any, gt_bboxes: list[torch.Tensor], gt_labels: list[torch.Tensor],
                 feat_shape: Any, img_shape: Any) -> Any:
        targets, avg_factor = call(gt_bboxes, gt_labels, feat_shape, img_shape)
        height, width = feat_shape[-2:]
        across, down = float(width / img_shape[1]), float(height / img_shape[0])
        points = [(((boxes[:, 1] + boxes[:, 3]) * down / 2).long(),
                   ((boxes[:, 0] + boxes[:, 2]) * across / 2).long()) for boxes in gt_bboxes]
        heat, plain = self._paint(points, gt_labels, feat_shape)
        weight = targets['wh_offset_target_weight']
        targets = {**targets, 'wh_offset_target_weight': weight * plain.to(weight.dtype)}
        self._maps = {id(targets['center_heatmap_target']): (heat, plain)}
        return targets, avg_factor


class CornerAdapter(_KeyPointAdapter):
    """CornerNet: heatmaps and offsets at a box's two corners, and the pull of its embeddings.

    The push between the embeddings of two boxes belongs to no one box and stays.
    """

    losses: ClassVar[tuple[str, ...]] = ('loss_heatmap', 'loss_offset')
    upstream = ('get_targets', 'loss_by_feat_single')

    def attach(self, head: Any) -> None:
        """Wraps the batch's loss, targets and embedding loss, and weighs the losses."""
        self.begin(head)
        self.wrap(head, 'get_targets', self._targets)
        for name in self.losses:
            which = 0 if name == 'loss_heatmap' else 1
            self.weigh(getattr(head, name), functools.partial(self._of_map, which))
        if head.with_corner_emb and head.loss_embedding is not None:
            self.wrap(head.loss_embedding, 'forward', self._embed)

    def _targets(self, call: Any, gt_bboxes: list[torch.Tensor], gt_labels: list[torch.Tensor],
                 feat_shape: Any, img_shape: Any, *args: Any, **kwargs: Any) -> Any:
        targets = call(gt_bboxes, gt_labels, feat_shape, img_shape, *args, **kwargs)
        height, width = feat_shape[-2:]
        across, down = float(width / img_shape[1]), float(height / img_shape[0])
        shape = (*feat_shape[:1], self.head.num_classes, height, width)
        for corner, (x, y) in {'topleft': (0, 1), 'bottomright': (2, 3)}.items():
            points = [((boxes[:, y] * down).clamp(max=height - 1).long(),
                       (boxes[:, x] * across).clamp(max=width - 1).long()) for boxes in gt_bboxes]
            maps = self._paint(points, gt_labels, shape)
            for name, target in targets.items():
                if name.startswith(corner):
                    self._maps[id(target)] = maps
        return targets

    def _embed(self, call: Any, tl_emb: torch.Tensor, br_emb: torch.Tensor,
               match: list[Any]) -> Any:
        """Adds what the weights change at the pull, 0 for weights of 1.

        A box pulls both of its corners' embeddings to their mean; an image's boxes are averaged.
        """
        pull, push = call(tl_emb, br_emb, match)
        for image, (corners, weights) in enumerate(zip(match, self._weights, strict=False)):
            if corners:
                (top, left), (bottom, right) = (zip(*ends, strict=True)
                                                for ends in zip(*corners, strict=True))
                apart = (tl_emb[image][:, list(top), list(left)]
                         - br_emb[image][:, list(bottom), list(right)])
                more = (apart.pow(2).sum(0) / 2 * (weights - 1)).sum() / len(corners)
                pull = pull + (self.head.loss_embedding.pull_weight * more).to(pull.dtype)
        return pull, push


class CentripetalAdapter(CornerAdapter):
    """CentripetalNet: as CornerNet without embeddings; guiding and centripetal shifts as well."""

    losses = ('loss_heatmap', 'loss_offset', 'loss_guiding_shift', 'loss_centripetal_shift')


def _are_instances(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and hasattr(value[0], 'labels')
