"""Mixup and label smoothing for torchvision's RetinaNet (arXiv 1902.04103), by plain functions.

    python examples/pytorch_detection.py

What torchvision's models allow: RetinaNet's two heads are objects of the caller, and their
``compute_loss`` is told which box each anchor belongs to; so every positive's loss can be
multiplied by the share of its image, as the paper does. FCOS and SSD have the same method. What
they do not allow: the two stages of Faster and Mask R-CNN compute their losses inside
``RegionProposalNetwork`` and ``RoIHeads`` from samples that no longer tell their box, by functions
that take no weight. Those can only be trained on blended images with all weights 1, which is what
the paper's released Faster R-CNN code does.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.retinanet import (
    RetinaNet,
    RetinaNetClassificationHead,
    RetinaNetHead,
    RetinaNetRegressionHead,
)
from torchvision.ops import sigmoid_focal_loss

import tricks_plugin.functional as tricks


class WeightedClassification(RetinaNetClassificationHead):
    """torchvision's head with smoothed labels, each positive's loss times its box's weight."""

    def __init__(self, *args: Any, eps: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.eps = eps

    def compute_loss(self, targets: Any, head_outputs: Any, matched_idxs: Any) -> Tensor:
        """The focal loss; ``targets`` hold ``weights``, float32 of one number per box."""
        losses = []
        for target, logits, matched in zip(targets, head_outputs['cls_logits'], matched_idxs,
                                           strict=True):
            positive = (matched >= 0).nonzero().squeeze(1)
            boxes = matched[positive]
            labels = torch.full_like(matched, logits.shape[1])  # background
            labels[positive] = target['labels'][boxes]
            soft = tricks.smooth_one_hot(tricks.one_hot_labels(labels, logits.shape[1]), self.eps,
                                         'szegedy')
            weights = tricks.element_weights(len(logits), [positive], [boxes], [target['weights']])
            loss = sigmoid_focal_loss(logits, soft, reduction='none').sum(1) * weights[0]
            used = matched != self.BETWEEN_THRESHOLDS
            losses.append(loss[used].sum() / max(1, len(positive)))
        return torch.stack(losses).mean()


class WeightedRegression(RetinaNetRegressionHead):
    """torchvision's head, each positive's loss times its box's weight."""

    def compute_loss(self, targets: Any, head_outputs: Any, anchors: Any,
                     matched_idxs: Any) -> Tensor:
        """The L1 loss; ``targets`` hold ``weights``, float32 of one number per box."""
        losses = []
        for target, deltas, priors, matched in zip(
                targets, head_outputs['bbox_regression'], anchors, matched_idxs, strict=True):
            positive = (matched >= 0).nonzero().squeeze(1)
            boxes = matched[positive]
            wanted = self.box_coder.encode_single(target['boxes'][boxes], priors[positive])
            loss = F.l1_loss(deltas[positive], wanted, reduction='none').sum(1)
            losses.append((loss * target['weights'][boxes]).sum() / max(1, len(positive)))
        return torch.stack(losses).mean()


def build(backbone: nn.Module, classes: int, eps: float = 0.1, **settings: Any) -> RetinaNet:
    """RetinaNet with the two heads; ``backbone`` as torchvision's, with ``out_channels``."""
    network = RetinaNet(backbone, classes, **settings)
    anchors = network.anchor_generator.num_anchors_per_location()[0]
    head = RetinaNetHead(backbone.out_channels, anchors, classes)
    head.classification_head = WeightedClassification(backbone.out_channels, anchors, classes,
                                                      eps=eps)
    head.regression_head = WeightedRegression(backbone.out_channels, anchors)
    network.head = head
    return network


def mix(images: list[Tensor], targets: list[dict[str, Tensor]], rng: Any, alpha: float = 1.5,
        ) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Blends each image with the next of its batch, nothing resized; boxes keep their shares.

    Args:
        images: ``(3, h, w)`` each, float32.
        targets: ``boxes`` and ``labels`` each.
        rng: What draws, see `tricks_plugin.functional.draw_lam`.
        alpha: Of the Beta distribution; 0 mixes nothing, and gives weights of 1.
    """
    mixed, joined = [], []
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        lam = tricks.draw_lam(rng, alpha) if alpha else 1.0
        other = (index + 1) % len(images) if alpha else index
        first, second = (one.permute(1, 2, 0).numpy() for one in (image, images[other]))
        mixed.append(torch.from_numpy(tricks.blend(first, second, lam)).permute(2, 0, 1))
        added = targets[other] if alpha else {key: value[:0] for key, value in target.items()}
        joined.append(tricks.concat_annotations(target, added, lam))
    return mixed, joined


def train(network: RetinaNet, batches: list[Any], epochs: int = 2, off_epochs: int = 1,
          lr: float = 0.01) -> list[float]:
    """Trains with warm-up, cosine and groups without decay; mixup is off for the last epochs.

    Args:
        network: As `build` makes it.
        batches: ``(images, targets)`` each, as torchvision's detectors take them.
        epochs: Passes over the batches.
        off_epochs: The last of them without mixup (the paper: 20 of 200).
        lr: For 16 images an update, as torchvision's references have it.

    Returns:
        The loss of each update.
    """
    size = tricks.effective_batch_size(len(batches[0][0]))
    optimizer = torch.optim.SGD(tricks.param_groups(network, weight_decay=1e-4), momentum=0.9,
                                lr=tricks.linear_scaled_lr(lr, size, base_batch=16))
    updates = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, tricks.warmup_cosine_factor(updates // 20 or 1, updates))
    rng, history = np.random.default_rng(0), []
    for epoch in range(epochs):
        for images, targets in batches:
            mixed = mix(images, targets, rng, 1.5 if epoch < epochs - off_epochs else 0.0)
            loss = torch.stack(list(network(*mixed).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            schedule.step()  # after every update, not after every epoch
            history.append(float(loss.detach()))
    return history


def random_batches(count: int, size: int = 96, seed: int = 0) -> list[Any]:
    """Batches of two random images with two boxes each, for a run without data."""
    draw = torch.Generator().manual_seed(seed)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0], [30.0, 20.0, 80.0, 70.0]])
    return [([torch.rand(3, size, size + 16 * index, generator=draw) for index in range(2)],
             [{'boxes': boxes.clone(), 'labels': torch.tensor([0, 2])} for _ in range(2)])
            for _ in range(count)]


if __name__ == '__main__':
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    body = resnet_fpn_backbone(backbone_name='resnet18', weights=None, trainable_layers=5)
    losses = train(build(body, classes=3, min_size=96, max_size=160), random_batches(4))
    print(f'loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} updates')
