"""The losses of the ATSS relations in NumPy: background and each box's part, from the papers.

Rows, targets and denominators come from the loss calls of a head without weights. Which box a
row belongs to is not asked of the head: a class names its box (each box of the batch has a class
of its own), and so does the box or mask that is a row's target.
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from support.weighting.atss_heads import CLASSES, LABELS, STRIDES
from support.weighting.kit import BOXES, instances

BOX_OF_CLASS = np.argsort([label for row in LABELS for label in row])
ALL_BOXES = np.array([box for row in BOXES for box in row])
EPS = np.finfo(np.float32).eps


@contextlib.contextmanager
def recorded(head):
    """The calls of a head's losses: name to a list of ``(args, weight, avg_factor, scale)``."""
    calls, hooks = {}, []

    def note(name, module, args, kwargs):
        if kwargs.get('reduction_override') == 'none':
            return
        weight = args[2] if len(args) > 2 else kwargs.get('weight')
        calls.setdefault(name, []).append(
            ([_numpy(item) for item in args[:2]], _numpy(weight), _numpy(kwargs['avg_factor']),
             module))

    for name, module in head.named_children():
        if 'loss' in name:
            hooks.append(module.register_forward_pre_hook(
                lambda module, args, kwargs, name=name: note(name, module, args, kwargs),
                with_kwargs=True))
    yield calls
    for hook in hooks:
        hook.remove()


def _numpy(value):
    if isinstance(value, tuple):
        return tuple(_numpy(item) for item in value)
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
        return value.astype(np.float64) if value.dtype == np.float32 else value
    return value


def parts(calls, stride_of=None):
    """Per loss, the background and each box's part, before any division after the loss.

    Args:
        calls: Of `recorded`.
        stride_of: Divisors of the boxes that are targets, per call; 1 by default.

    Returns:
        Name to a list per call of ``(5,)``: the four boxes' parts, then the background.
    """
    owners = [_owners_of_boxes(args[1], (stride_of or [1] * len(STRIDES))[number])
              for number, (args, *_) in enumerate(calls['loss_bbox'])]
    result = {}
    for name, made in calls.items():
        result[name] = []
        with_positives = iter(owners)
        for args, weight, avg_factor, module in made:
            rows = FORMULAS[type(module).__name__](*args, module)
            rows = rows if weight is None else rows * weight
            rows = rows * module.loss_weight / (avg_factor + EPS)
            if name in ('loss_cls', 'initial_loss_cls'):
                owner = _owners_of_rows(args[1])
            elif name == 'loss_mask':
                owner = _owners_of_masks(args[1])
            elif name == 'loss_iou':  # all predictions, the background's weight being 0
                owner = np.full(len(rows), -1)
                owner[weight > 0] = next(with_positives)
            else:
                owner = next(with_positives)
                owner = np.repeat(owner, len(rows) // len(owner))
            result[name].append(np.array([rows[owner == box].sum() for box in (0, 1, 2, 3, -1)]))
    return result


def _owners_of_boxes(targets, stride):
    return np.abs(targets[:, None] * stride - ALL_BOXES).sum(-1).argmin(1)


def _owners_of_rows(target):
    if isinstance(target, tuple):
        target = target[0]
    if target.ndim == 2:  # one column per class, of which a positive has one that is not 0
        target = np.where(target.any(1), target.argmax(1), CLASSES)
    return np.append(BOX_OF_CLASS, -1)[target]


def _owners_of_masks(targets):
    masks = np.concatenate([item.masks.masks for item in instances(masks=True)])[:, 2::4, 2::4]
    return np.abs(targets[:, None] - masks.astype(int)).sum((2, 3)).argmin(1)


def _log(value):
    return np.log(np.maximum(value, 1e-300))


def _probability(pred, module):
    return pred if getattr(module, 'activated', False) else 1 / (1 + np.exp(-pred))


def focal(pred, labels, module):
    """Lin et al. 2017, eq. 5."""
    p, hot = _probability(pred, module), np.eye(CLASSES + 1)[labels][:, :CLASSES]
    loss = np.where(hot == 1, -0.25 * (1 - p) ** 2 * _log(p), -0.75 * p ** 2 * _log(1 - p))
    return loss.sum(1)


def quality_focal(pred, target, module):
    """Li et al. 2020, eq. 4."""
    p = _probability(pred, module)
    y = np.eye(CLASSES + 1)[target[0]][:, :CLASSES] * target[1][:, None]
    return (-np.abs(y - p) ** 2 * ((1 - y) * _log(1 - p) + y * _log(p))).sum(1)


def varifocal(pred, q, module):
    """Zhang et al. 2021, eq. 2."""
    p = _probability(pred, module)
    return np.where(q > 0, -q * (q * _log(p) + (1 - q) * _log(1 - p)),
                    -0.75 * p ** 2 * _log(1 - p)).sum(1)


def distribution_focal(pred, target, module):
    """Li et al. 2020, eq. 6."""
    log_p = pred - np.log(np.exp(pred).sum(1, keepdims=True))
    low, rows = target.astype(int), np.arange(len(pred))
    return -((low + 1 - target) * log_p[rows, low] + (target - low) * log_p[rows, low + 1])


def distillation(pred, soft, module):
    """Hinton et al. 2015, with the mean over bins of mmdet."""
    def softened(logits):
        return np.exp(logits / 10) / np.exp(logits / 10).sum(1, keepdims=True)
    told, made = softened(soft), softened(pred)
    return 100 * (told * (np.log(told) - np.log(made))).mean(1)


def giou(pred, target, module):
    """Rezatofighi et al. 2019, algorithm 1."""
    inner = np.minimum(pred[:, 2:], target[:, 2:]) - np.maximum(pred[:, :2], target[:, :2])
    outer = np.maximum(pred[:, 2:], target[:, 2:]) - np.minimum(pred[:, :2], target[:, :2])
    overlap = inner.clip(0).prod(1)
    union = (pred[:, 2:] - pred[:, :2]).prod(1) + (target[:, 2:] - target[:, :2]).prod(1) - overlap
    return 2 - overlap / union - union / outer.prod(1)


def cross_entropy(pred, target, module):
    """Binary, from logits."""
    p = 1 / (1 + np.exp(-pred))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p)).reshape(-1)


def dice(pred, target, module):
    """Milletari et al. 2016."""
    p, t = 1 / (1 + np.exp(-pred)), target.astype(float)
    return 1 - 2 * (p * t).sum((1, 2)) / ((p * p).sum((1, 2)) + (t * t).sum((1, 2)) + 1e-5)


FORMULAS = {
    'FocalLoss': focal, 'QualityFocalLoss': quality_focal, 'VarifocalLoss': varifocal,
    'DistributionFocalLoss': distribution_focal, 'GIoULoss': giou,
    'KnowledgeDistillationKLDivLoss': distillation, 'CrossEntropyLoss': cross_entropy,
    'DiceLoss': dice}
