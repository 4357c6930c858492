"""RoI heads: each box's part of each loss, against NumPy formulas over upstream's own targets.

The predictions and targets are what an unweighted head hands its losses; the formulas, their
denominators and which row belongs to which box are worked out here, in float64.
"""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
from support.weighting.kit import WEIGHTS, build, float32_sum, prove
from support.weighting.roi_cases import compute, head_config

pytestmark = pytest.mark.slow


def f64(tensor):
    return tensor.detach().double().numpy()


def softmax_ce(logits, labels):
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


def bce(logits, targets):
    return np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


def smooth_l1(pred, target, beta=1.0):
    gap = np.abs(pred - target)
    return np.where(gap < beta, gap ** 2 / (2 * beta), gap - beta / 2)


def giou_loss(a, b):
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    both = np.prod(np.maximum(high - low, 0), 1)
    union = np.prod(a[:, 2:] - a[:, :2], 1) + np.prod(b[:, 2:] - b[:, :2], 1) - both
    hull = np.prod(np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2]), 1)
    return 1 - both / union + (hull - union) / hull


@contextlib.contextmanager
def recorded(*methods):
    """Lists of ``(args, kwargs, result)``, one for each ``(owner, method name)``."""
    calls = [[] for _ in methods]

    def spy(original, notes, *args, **kwargs):
        result = original(*args, **kwargs)
        notes.append((args, kwargs, result))
        return result
    for (owner, name), notes in zip(methods, calls, strict=True):
        owner.__dict__[name] = functools.partial(spy, getattr(owner, name), notes)
    try:
        yield calls
    finally:
        for owner, name in methods:
            del owner.__dict__[name]


class Run:
    """One unweighted run of a RoI head, and the proof's parts to compare with."""

    def __init__(self, name, *losses, **changes):
        self.head = build(head_config(name, **changes)).train()
        losses = [functools.reduce(getattr, path.split('.'), self.head) if isinstance(path, str)
                  else path(self.head) for path in losses]
        samplers = self.head.bbox_sampler
        sampler = samplers[0] if isinstance(samplers, list) else samplers
        with recorded((sampler, 'sample'), *((loss, 'forward') for loss in losses)) as calls:
            compute(self.head, name, None)
        self.results = [result[0] if isinstance(result, tuple) else result
                        for _, _, result in calls[0]]
        self.calls = calls[1:]
        self.positives = [(image, int(box)) for image, result in enumerate(self.results)
                          for box in result.pos_assigned_gt_inds.flatten()]
        self.owners = []
        for image, result in enumerate(self.results):
            self.owners += [(image, int(box)) for box in result.pos_assigned_gt_inds.flatten()]
            self.owners += [None] * len(result.neg_inds)
        self.background, self.parts = prove([self.head], functools.partial(
            compute, self.head, name), weighted=())

    def check(self, name, rows, owners):
        """Compares a loss's parts with rows that already are divided by the denominator."""
        want = {owner: 0. for owner in owners}
        for row, owner in zip(rows, owners, strict=True):
            want[owner] += row
        whole = sum(want.values())
        assert self.background[name] == float32_sum(want.get(None, 0), whole)
        for image, row in enumerate(WEIGHTS):
            for box in range(len(row)):
                assert self.parts[image][box][name] == float32_sum(
                    want.get((image, box), 0), whole), (name, image, box)

    def args(self, loss, call=0):
        return [f64(arg) for arg in self.calls[loss][call][0]]


def class_rows(run, labels, loss=0, call=0):
    logits = run.args(loss, call)[0]
    return softmax_ce(logits, labels) / len(logits)


def test_box_and_mask_losses_of_a_standard_roi_head():
    run = Run('mask', 'bbox_head.loss_cls', 'bbox_head.loss_bbox', 'mask_head.loss_mask')
    labels = run.args(0)[1].astype(int)
    assert (labels == 3).sum() == run.owners.count(None) > 0  # background
    run.check('loss_cls', class_rows(run, labels), run.owners)
    pred, target = run.args(1)[:2]
    run.check('loss_bbox', smooth_l1(pred, target).sum(1) / len(labels), run.positives)
    masks, target, classes = run.args(2)[:3]
    rows = bce(masks[np.arange(len(masks)), classes.astype(int)], target).mean((1, 2)) / len(masks)
    run.check('loss_mask', rows, run.positives)


def test_the_buckets_of_side_aware_boundary_localisation():
    run = Run('sabl', 'bbox_head.loss_cls', 'bbox_head.loss_bbox_cls', 'bbox_head.loss_bbox_reg')
    labels = run.args(0)[1].astype(int)
    run.check('loss_cls', class_rows(run, labels), run.owners)
    logits, target, mask = run.args(1)
    four = [owner for owner in run.owners for _ in range(4)]
    run.check('loss_bbox_cls', (bce(logits, target) * mask).sum(1) / len(logits), four)
    pred, target, mask = run.args(2)
    run.check('loss_bbox_reg', (smooth_l1(pred, target, 0.1) * mask).sum(1) / len(pred),
              run.owners)


def test_the_grid_head_trains_on_a_random_subset_of_the_positives():
    run = Run('grid', 'grid_head.loss_grid', max_num_grid=5)
    with recorded((run.head.grid_head, 'loss')) as (calls,):
        compute(run.head, 'grid', None)
    chosen = calls[0][0][1].tolist()
    assert len(chosen) == 5 < len(run.positives)
    rows = sum(bce(*run.args(0, call)).mean((1, 2, 3)) for call in range(2)) * 15 / 5
    run.check('loss_grid', rows, [run.positives[index] for index in chosen])


def test_the_mask_iou_head_skips_positives_without_overlap():
    run = Run('scoring', 'mask_iou_head.loss_iou', mask_thr_binary=0.012)
    with recorded((run.head.mask_iou_head, 'get_targets')) as (calls,):
        compute(run.head, 'scoring', None)
    kept = f64(calls[0][2]) > 0
    assert 0 < kept.sum() < len(kept)
    pred, target = run.args(0)
    run.check('loss_mask_iou', 0.5 * (pred - target) ** 2 / len(pred),
              [owner for owner, keep in zip(run.positives, kept, strict=True) if keep])


def test_the_points_of_point_rend():
    run = Run('point', 'point_head.loss_point')
    points, target, classes = run.args(0)
    rows = bce(points[np.arange(len(points)), classes.astype(int)], target).mean(1) / len(points)
    run.check('loss_point', rows, run.positives)


def test_prime_sample_attention_ranks_and_normalises_without_the_weights():
    run = Run('pisa', 'bbox_head.loss_cls', 'bbox_head.loss_bbox')
    call = next(index for index, (args, _, _) in enumerate(run.calls[0])
                if len(args) > 2 and len(args[0]) == len(run.owners))
    logits, labels, importance = run.args(0, call)
    labels = labels.astype(int)
    assert len(set(importance.round(4))) > 3  # ISR-P's and ISR-N's
    run.check('loss_cls', softmax_ce(logits, labels) * importance / len(logits), run.owners)
    pred, target = run.args(1, 0)[:2]
    run.check('loss_bbox', smooth_l1(pred, target).sum(1) / len(logits), run.positives)
    foreground = labels < 3
    scores = np.exp(-softmax_ce(logits, labels))[foreground]
    share = 0.2 + 0.8 * scores
    share *= len(share) / share.sum()
    run.check('loss_carl', smooth_l1(pred, target).sum(1) * share / len(logits), run.positives)


def test_queries_of_sparse_rcnn_and_queryinst():
    run = Run('queryinst', *(functools.partial(_stage, name) for name in (
        'bbox_head.loss_cls', 'bbox_head.loss_bbox', 'bbox_head.loss_iou', 'mask_head.loss_mask')))
    owners = []  # the rows are the queries in their own order
    for image, result in enumerate(run.results[:2]):
        row = [None] * 24
        for query, box in zip(result.pos_inds, result.pos_assigned_gt_inds, strict=True):
            row[query] = (image, int(box))
        owners += row
    positives = [owner for owner in owners if owner]
    assert len(positives) == 4
    logits, labels = run.args(0)[:2]
    onehot = np.eye(4)[labels.astype(int)][:, :3]
    prob = 1 / (1 + np.exp(-logits))
    miss = np.abs(onehot - prob)
    focal = bce(logits, onehot) * np.where(onehot > 0, 0.25, 0.75) * miss ** 2
    run.check('s0.loss_cls', 2 * focal.sum(1) / 4, owners)
    pred, target = run.args(1)[:2]
    run.check('s0.loss_bbox', 5 * np.abs(pred - target).sum(1) / 4, positives)
    pred, target = run.args(2)[:2]
    run.check('s0.loss_iou', 2 * giou_loss(pred, target) / 4, positives)
    pred, target = (array.reshape(4, -1) for array in run.args(3)[:2])
    dice = 2 * (pred * target).sum(1) / ((pred ** 2).sum(1) + (target ** 2).sum(1) + 2e-3)
    run.check('s0.loss_mask', 8 * (1 - dice) / 4, positives)


def _stage(path, head):
    part, loss = path.split('.')
    return getattr(getattr(head, part)[0], loss)


def test_the_pairing_of_crowd_det_is_chosen_without_the_weights():
    run = Run('multi')
    box = run.head.bbox_head
    with recorded((box, 'loss'), (box, 'get_targets')) as (calls, _):
        compute(run.head, 'multi', None)
    cls_score, bbox_pred, _, labels, _, targets = (f64(arg) for arg in calls[0][0][:6])
    labels, targets = labels.astype(int), targets.reshape(-1, 2, 4)
    owned = []
    for image, result in enumerate(run.results):
        rows = np.concatenate([f64(result.pos_assigned_gt_inds), f64(result.neg_assigned_gt_inds)])
        owned += [[(image, int(index)) for index in row] for row in rows]
    rows, owners = [], []
    for roi in range(len(labels)):
        scores, preds = cls_score[roi].reshape(2, 2), bbox_pred[roi].reshape(2, 4)
        ways = []
        for order in ((0, 1), (1, 0)):
            way = []
            for place, instance in enumerate(order):
                label = max(labels[roi, place], 0)
                term = softmax_ce(scores[[instance]], [label])[0]
                if labels[roi, place] > 0:
                    term += smooth_l1(preds[instance], targets[roi, place]).sum()
                way.append(term)
            ways.append(way)
        rows += [term / len(labels) for term in min(ways, key=sum)]
        owners += [owned[roi][place] if labels[roi, place] > 0 else None for place in range(2)]
    run.check('loss_rcnn_emd', rows, owners)
