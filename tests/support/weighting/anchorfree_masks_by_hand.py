"""As `mixup_anchorfree_by_hand`, for the heads that learn masks; the table of all of them."""

from __future__ import annotations

import mmcv
import numpy as np
from support.weighting import anchorfree_by_hand as boxes
from support.weighting import anchorfree_cases as cases
from support.weighting import kit
from support.weighting.anchorfree_by_hand import (
    BOXES,
    EPS,
    array,
    calls_of,
    focal,
    per_box,
    sigmoid,
    watched,
)


def dice(p, target, eps):
    """Dice loss of each mask (arXiv 1606.04797, section 3)."""
    p, target = p.reshape(len(p), -1), target.reshape(len(p), -1)
    return 1 - 2 * (p * target).sum(1) / ((p ** 2).sum(1) + (target ** 2).sum(1) + 2 * eps)


def mask_owners(targets, scale, **kwargs):
    """Number of the ground-truth box whose mask, made smaller by upstream's rule, each row is."""
    masks = [mask for item in kit.instances(masks=True, **kwargs) for mask in item.masks.masks]
    small = [scale(mask) for mask in masks]
    return np.array([[number for number, mask in enumerate(small)
                      if (mask == target).all()][0] for target in targets])


def condinst(name):
    """Dice over the masks that the head selected, after the box head's losses."""
    calls = calls_of(name, 1, ('loss_mask',))['loss_mask']
    terms = [3 * dice(sigmoid(pred), target, 5e-6) for pred, target, *_ in calls]
    owner = [mask_owners(target, lambda mask: mask[2::4, 2::4]) for _, target, *_ in calls]
    terms, owner = np.concatenate(terms), np.concatenate(owner)
    return dict(boxes.fcos(name), loss_mask=per_box(terms / len(terms), owner))


def boxinst(name):
    """Dice of both projections; neighbours' chance to agree, inside of each box; after warm-up."""
    mask_head = cases.heads(name)[1]
    with watched(mask_head, '_get_targets_single') as seen:
        cases.losses(name, None)
    project, pairs, owner, total = [], [], [], 0.0
    for _, result in seen:
        logits, target, near = map(array, result[:3])
        p = sigmoid(logits)
        project.append(sum(3 * dice(p.max(axis), target.max(axis), 5e-6) for axis in (1, 2)))
        padded = np.pad(p, ((0, 0), (2, 2), (2, 2)), constant_values=np.nan)
        agree = np.stack([
            p * side + (1 - p) * (1 - side)
            for side in (padded[:, 2 + y:18 + y, 2 + x:26 + x]
                         for y in (-2, 0, 2) for x in (-2, 0, 2) if (y, x) != (0, 0))], 1)
        pairs.append(-(np.log(np.nan_to_num(agree, nan=1.0)) * near).sum((1, 2, 3)))
        total += max(near.sum(), 1)
        owner.append(np.array([[number for number, box in enumerate(BOXES) if _fills(mask, box)][0]
                               for mask in target]))
    project, pairs, owner = map(np.concatenate, (project, pairs, owner))
    return dict(boxes.fcos(name), loss_mask_project=per_box(project / len(project), owner),
                loss_mask_pairwise=per_box(0.4 * pairs / total, owner))


def _fills(mask, box):
    """Whether a mask of stride 4 has the extent of an ellipse in a box."""
    rows, columns = (4 * np.flatnonzero(mask.any(axis)) + 2.5 for axis in (1, 0))
    return np.abs([columns[0], rows[0], columns[-1], rows[-1]] - box).max() < 6


def solo(name):
    """Dice of each cell's mask, and the focal loss of the cells, that come in the same order."""
    calls = calls_of(name, losses=('loss_mask', 'loss_cls'))
    (scores, labels, _, avg), = calls['loss_cls']
    owner = np.concatenate([
        mask_owners(target, lambda mask: mmcv.imrescale(mask, scale=0.25))
        for _, target, *_ in calls['loss_mask']])
    terms = np.concatenate([
        3 * dice(pred if 'Decoupled' in name else sigmoid(pred), target, 1e-3)
        for pred, target, *_ in calls['loss_mask']])
    return dict(loss_mask=per_box(terms / len(terms), owner), loss_cls=per_box(
        1.5 * focal(scores, labels)[labels < 3] / (avg + EPS), owner))


FAMILIES = {
    'FCOSHead': boxes.fcos, 'FoveaHead': boxes.fovea, 'RepPointsHead': boxes.reppoints,
    'AutoAssignHead': boxes.autoassign, 'CenterNetHead': boxes.centernet,
    'CenterNetUpdateHead': boxes.centernet_update, 'YOLOXHead': boxes.yolox,
    'CornerHead': boxes.corner, 'CentripetalHead': boxes.corner,
    'CondInstBboxHead': condinst, 'BoxInstBboxHead': boxinst,
    'SOLOHead': solo, 'DecoupledSOLOHead': solo,
}
