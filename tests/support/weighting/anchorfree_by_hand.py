"""Each box's part of the losses, in float64 NumPy, from what an unweighted head hands its losses.

Which box a positive belongs to is told from upstream's own box or mask targets, or by asking a
head for one box alone, never by the means of the weighting.
"""

from __future__ import annotations

import contextlib

import numpy as np
from support.weighting import anchorfree_cases as cases
from support.weighting import kit

EPS = float(np.finfo(np.float32).eps)
BOXES = [np.array(box, np.float64) for row in kit.BOXES for box in row]
LABELS = [label for row in kit.LABELS for label in row]
IMAGES = [image for image, row in enumerate(kit.BOXES) for _ in row]


def array(value):
    """Float64 of a tensor or number; nothing else."""
    return np.asarray(value.detach() if hasattr(value, 'detach') else value, np.float64)


@contextlib.contextmanager
def spied(head, *names):
    """The calls ``(pred, target, weight, avg_factor)`` of an unweighted head's losses, by name."""
    calls = {name: [] for name in names}

    def spy(name, module, args, kwargs):
        third = args[2] if len(args) > 2 else kwargs.get('weight')
        calls[name].append([None if item is None else array(item) for item in (
            *args[:2], third, kwargs.get('avg_factor'))])

    handles = [getattr(head, name).register_forward_pre_hook(
        lambda module, args, kwargs, name=name: spy(name, module, args, kwargs), with_kwargs=True)
        for name in names]
    yield calls
    for handle in handles:
        handle.remove()


@contextlib.contextmanager
def watched(head, method):
    """The arguments and results ``(args, result)`` of an unweighted head's method."""
    seen, plain = [], getattr(head, method)

    def watch(*args, **kwargs):
        seen.append((args, plain(*args, **kwargs)))
        return seen[-1][1]

    setattr(head, method, watch)
    yield seen
    delattr(head, method)


def calls_of(name, part=0, losses=()):
    """One unweighted batch's calls of a case's losses."""
    with spied(cases.heads(name)[part], *losses) as calls:
        cases.losses(name, None)
    return calls


def sigmoid(x):
    """Of logits."""
    return 1 / (1 + np.exp(-x))


def bce(logit, target):
    """Binary cross entropy per element."""
    return -target * np.log(sigmoid(logit)) - (1 - target) * np.log(1 - sigmoid(logit))


def focal(logits, labels, alpha=0.25, gamma=2.0):
    """Focal loss (arXiv 1708.02002, eq. 5) of each row, summed over its classes."""
    p, hot = sigmoid(logits), np.arange(logits.shape[1]) == labels[:, None]
    own = -alpha * (1 - p) ** gamma * np.log(p)
    other = -(1 - alpha) * p ** gamma * np.log(1 - p)
    return np.where(hot, own, other).sum(1)


def smooth_l1(pred, target, beta):
    """Per row."""
    apart = np.abs(pred - target)
    return np.where(apart < beta, apart ** 2 / (2 * beta), apart - beta / 2).sum(1)


def overlap(a, b):
    """IoU and GIoU per row of corners."""
    def area(box):
        return (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    sides = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
    inter = sides.prod(1)
    union = area(a) + area(b) - inter
    hull = (np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])).prod(1)
    return inter / union, inter / union - (hull - union) / hull


def owners(boxes):
    """Number of the ground-truth box that each row is, to a tenth of a pixel."""
    apart = np.abs(boxes[:, None] - np.stack(BOXES)).max(2)
    assert len(boxes) and (apart.min(1) < 0.1).all()
    return apart.argmin(1)


def per_box(terms, owner):
    """Sum of the terms of each box."""
    return [float(np.sum(terms[owner == number])) for number in range(len(BOXES))]


def fcos(name):
    """Focal, GIoU weighted by centerness, and centerness as binary cross entropy."""
    calls = calls_of(name, losses=('loss_cls', 'loss_bbox', 'loss_centerness'))
    (scores, labels, _, count), = calls['loss_cls']
    (boxes, targets, quality, total), = calls['loss_bbox']
    (logits, centerness, _, _), = calls['loss_centerness']
    owner, positive = owners(targets), labels < 3
    return dict(
        loss_cls=per_box(1.5 * focal(scores, labels)[positive] / (count + EPS), owner),
        loss_bbox=per_box(2 * (1 - overlap(boxes, targets)[1]) * quality / (total + EPS), owner),
        loss_centerness=per_box(0.7 * bce(logits, centerness) / (count + EPS), owner))


def points_of(head, levels, images=2):
    """Points of all levels, each level once per image, and their strides."""
    grids = [array(grid) for grid in head.prior_generator.grid_priors(
        levels, device='cpu')]
    strides = [np.full(len(grid) * images, stride[0])
               for grid, stride in zip(grids, head.prior_generator.strides, strict=True)]
    return np.concatenate([np.tile(grid, (images, 1)) for grid in grids]), np.concatenate(strides)


def fovea(name):
    """Focal, and smooth L1 on logarithms of distances in units of a level's base edge."""
    calls = calls_of(name, losses=('loss_cls', 'loss_bbox'))
    (scores, labels, _, count), = calls['loss_cls']
    (pred, target, _, positives), = calls['loss_bbox']
    positive = labels < 3
    points, strides = points_of(cases.heads(name)[0], [(8, 12), (4, 6)])
    points, edges = points[positive], 2 * strides[positive][:, None]
    sides = np.exp(target) * edges
    owner = owners(np.hstack([points - sides[:, :2], points + sides[:, 2:]]))
    return dict(loss_cls=per_box(1.5 * focal(scores, labels)[positive] / (count + EPS), owner),
                loss_bbox=per_box(1.2 * smooth_l1(pred, target, 0.11) / (positives + EPS), owner))


def reppoints(name):
    """Focal and the refine stage's smooth L1 share positives, the init stage has its own."""
    calls = calls_of(name, losses=('loss_cls', 'loss_bbox_init', 'loss_bbox_refine'))
    parts = dict.fromkeys(('loss_cls', 'loss_pts_init', 'loss_pts_refine'), np.zeros(len(BOXES)))
    for level, unit in enumerate((32, 64)):
        scores, labels, _, count = calls['loss_cls'][level]
        for stage, weight in (('init', 0.5), ('refine', 1.0)):
            pred, target, mask, number = calls[f'loss_bbox_{stage}'][level]
            positive = mask.max(1) > 0
            if not positive.any():
                continue
            owner = owners(target[positive] * unit)
            terms = weight * smooth_l1(pred, target, 0.11)[positive] / (number + EPS)
            parts[f'loss_pts_{stage}'] = parts[f'loss_pts_{stage}'] + per_box(terms, owner)
            if stage == 'refine':
                terms = 1.5 * focal(scores, labels)[positive] / (count + EPS)
                parts['loss_cls'] = parts['loss_cls'] + per_box(terms, owner)
    return parts


def autoassign(name):
    """A box's positive loss over all of its points together; its share of the center loss."""
    with watched(cases.heads(name)[0], 'get_pos_loss_single') as seen:
        cases.losses(name, None)
    positive, center = [], []
    for (scores, objectness, box_loss, gt_instances, prior), _ in seen:
        scores, objectness, box_loss, prior = map(array, (scores, objectness, box_loss, prior))
        for box, label in enumerate(gt_instances.labels.tolist()):
            p = scores[:, label] * objectness[:, 0] * np.exp(-box_loss[:, box])
            share = np.exp(3 * p) * prior[:, box]
            positive.append(-0.25 / 4 * np.log((p * share).sum() / share.sum()))
            center.append(0.75 / 2 / prior.sum())
    return dict(loss_pos=positive, loss_center=center)


def pixel(number, x, y, stride=4):
    """``(image, row, column)`` of a place in pixels of the image."""
    return IMAGES[number], int(y // stride), int(x // stride)


def peak(p):
    """The positive term of the gaussian focal loss (arXiv 1808.01244, eq. 1)."""
    return -np.log(p) * (1 - p) ** 2


def centernet(name):
    """Heatmap at the centre in the channel of the class; size and offset by L1 there."""
    calls = calls_of(name, losses=('loss_center_heatmap', 'loss_wh', 'loss_offset'))
    parts = dict(loss_center_heatmap=[], loss_wh=[], loss_offset=[])
    for number, (box, label) in enumerate(zip(BOXES, LABELS, strict=True)):
        image, row, column = pixel(number, box[[0, 2]].mean(), box[[1, 3]].mean())
        heat = calls['loss_center_heatmap'][0][0][image, label, row, column]
        parts['loss_center_heatmap'].append(1.1 * peak(heat) / 4)
        for loss, weight in (('loss_wh', 0.1), ('loss_offset', 1.0)):
            pred, target = (item[image, :, row, column] for item in calls[loss][0][:2])
            parts[loss].append(weight * np.abs(pred - target).sum() / 8)
    return parts


def corner(name):
    """CornerNet and CentripetalNet: both corners, halved; the pull of the embeddings."""
    shifts = () if name == 'CornerHead' else ('loss_guiding_shift', 'loss_centripetal_shift')
    pixels = {'loss_offset': ('off_loss', 1.0), 'loss_guiding_shift': ('guiding_loss', 0.05),
              'loss_centripetal_shift': ('centripetal_loss', 1.0)}
    losses = ('loss_heatmap', 'loss_offset', *shifts)
    calls = calls_of(name, losses=losses)
    places = [[pixel(number, box[x], box[y]) for number, box in enumerate(BOXES)]
              for x, y in ((0, 1), (2, 3))]
    parts = {loss: np.zeros(len(BOXES)) for loss in (
        'det_loss', *(pixels[each][0] for each in losses[1:]))}
    for side, at in enumerate(places):
        for number, (image, row, column) in enumerate(at):
            heat, _, _, count = calls['loss_heatmap'][side]
            parts['det_loss'][number] += peak(heat[image, LABELS[number], row, column]) / count / 2
            for each in losses[1:]:
                pred, target, _, count = calls[each][side]
                row_pair = (item[None, image, :, row, column] for item in (pred, target))
                parts[pixels[each][0]][number] += pixels[each][1] * float(
                    smooth_l1(*row_pair, 1.0)[0]) / count / 2
    if not shifts:
        top, bottom = (array(maps[0]) for maps in cases.heads(name)[0](cases.features(name))[2:4])
        parts['pull_loss'] = [
            0.2 * (top[a, 0, b, c] - bottom[d, 0, e, f]) ** 2 / 2 / len(kit.BOXES[a])
            for (a, b, c), (d, e, f) in zip(*places, strict=True)]
    return parts


def centernet_update(name):
    """The points listed for each box alone; GIoU, by the heatmap's target, in units of strides."""
    head = cases.heads(name)[0]
    with spied(head, 'loss_cls', 'loss_bbox') as calls, watched(
            head, 'add_cls_pos_inds') as listed, watched(head, 'get_targets') as targets:
        cases.losses(name, None)
    p, _, _, count = calls['loss_cls'][0]
    arguments = listed[0][0]
    boxes, target, quality, total = calls['loss_bbox'][-1]
    classes = []
    for number, label in enumerate(LABELS):
        items = kit.instances()
        alone = [item[[number - 3 * image]] if image == IMAGES[number] else item[:0]
                 for image, item in enumerate(items)]
        rows, _ = head.add_cls_pos_inds(*arguments[:3], alone)
        classes.append(0.25 * peak(p[rows.numpy(), label]).sum() / (count + EPS))
    points, strides = points_of(head, [(8, 12), (4, 6)])
    inside = array(targets[0][1][1]).max(1) >= 0
    points, strides = np.hstack([points, points])[inside], strides[inside][:, None]
    owner = owners(points + (target - points) * strides)
    terms = 2 * (1 - overlap(boxes, target)[1]) * quality / (total + EPS)
    return dict(loss_cls=classes, loss_bbox=per_box(terms, owner))


def yolox(name):
    """Class by the IoU as its target, squared IoU, objectness 1 and L1, over the positives."""
    calls = calls_of(name, losses=('loss_cls', 'loss_bbox', 'loss_obj', 'loss_l1'))
    (scores, targets, *_), (boxes, gt, *_) = calls['loss_cls'][0], calls['loss_bbox'][0]
    (logits, object_, *_), (pred, sides, *_) = calls['loss_obj'][0], calls['loss_l1'][0]
    owner, count = owners(gt), len(gt)
    return dict(
        loss_cls=per_box(bce(scores, targets).sum(1) / count, owner),
        loss_bbox=per_box(5 * (1 - overlap(boxes, gt)[0] ** 2) / count, owner),
        loss_obj=per_box(bce(logits, object_)[object_ == 1] / count, owner),
        loss_l1=per_box(np.abs(pred - sides).sum(1) / count, owner))
