"""Weighted losses by hand: cascades, guided anchors, FreeAnchor, FSAF, YOLACT's masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from support.weighting.anchor_hand import (
    FLAT,
    WEIGHTS,
    Spy,
    array,
    bce,
    bounded_iou_loss,
    check,
    factors,
    focal,
    nearest,
    overlap,
    smooth_l1,
)
from support.weighting.anchor_zoo import STRIDES, features, loss, make, protonet
from support.weighting.kit import BOXES, LABELS, attached, build, samples, total

pytestmark = pytest.mark.slow

ALL = [WEIGHTS[image][box] for image, box in FLAT]


def test_both_stages_of_a_cascade():
    name = 'CascadeRPNHead'
    head, inputs = make(name), features(name)
    parts = torch.nn.ModuleList(head.stages)
    notes = [Stage(stage) for stage in parts]
    loss(head, name, inputs)
    want = {}
    for number, note in enumerate(notes):
        note.stop()
        for cells, reg, cls in zip((96, 24), note.calls['loss_bbox'],
                                   note.calls['loss_cls'] or [None] * 2, strict=True):
            (pred, target, weight), average = reg
            positive = array(weight)[:, 0] > 0
            row = factors(len(target), positive, array(target), lambda at, n=cells: at // n)
            key = f's{number}.loss_rpn_reg'
            each = 10 * (1 - overlap(array(pred)[positive], array(target)[positive])[0])
            want[key] = want.get(key, 0) + (each * row[positive]).sum() / average
            if cls:
                (score, labels, weight), average = cls
                key = f's{number}.loss_rpn_cls'
                each = bce(array(score)[:, 0], (labels == 0).double().numpy())
                want[key] = want.get(key, 0) + (each * array(weight) * row).sum() / average
    check(name, head, inputs, want)


class Stage:
    """Spies on one stage's losses."""

    def __init__(self, stage):
        self.calls = dict(loss_cls=[], loss_bbox=[])
        self.handles = [getattr(stage, key).register_forward_pre_hook(
            self.note(key), with_kwargs=True) for key in self.calls]

    def note(self, key):
        return lambda module, args, kwargs: self.calls[key].append(
            (args, float(kwargs['avg_factor'])))

    def stop(self):
        for handle in self.handles:
            handle.remove()


def centre_cells(box, ratio, stride):
    """A box's centre region in cells, mmdet's rounding: x1, y1, x2, y2."""
    x1, y1, x2, y2 = (value / stride for value in box)
    low, high = (1 - ratio) / 2, (1 + ratio) / 2
    return [int(np.round(value)) for value in (
        high * x1 + low * x2, high * y1 + low * y2, low * x1 + high * x2, low * y1 + high * y2)]


def painted(boxes, weights, level):
    """An image's map of weights on a level, box after box; 1 outside their centres."""
    stride = STRIDES[level]
    cells = np.ones((64 // stride, 96 // stride))
    for box, weight in zip(boxes, weights, strict=True):
        side = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        if min(max(round(np.log2(side / (3 * STRIDES[0]))), 0), 1) == level:
            x1, y1, x2, y2 = centre_cells(box, 0.4, stride)
            cells[y1:y2 + 1, x1:x2 + 1] = weight
    return cells


def test_guided_anchors_shapes_and_places():
    name = 'GARetinaHead'
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'loss_shape', 'loss_loc')
    want = dict(loss_shape=0.0, loss_loc=0.0)
    for level, (shape, loc) in enumerate(zip(*spy.calls.values(), strict=True)):
        row = np.array([WEIGHTS[i][b] for i, b in nearest(array(shape['target']))] or [1.])
        each = bounded_iou_loss(array(shape['pred']), array(shape['target'])).sum(1)
        want['loss_shape'] += (each * row).sum() / shape['avg_factor']
        row = np.stack([painted(BOXES[i], WEIGHTS[i], level) for i in range(2)])
        assert ((row.ravel() != 1) == (loc['target'].numpy() == 1)).all()
        # mmdet's focal loss takes target 0 for the class and 1 for none
        each = focal(array(loc['pred']), loc['target'].numpy())[:, 0] * array(loc['weight'])
        want['loss_loc'] += (each * row.ravel()).sum() / loc['avg_factor']
    others = {key: value for key, value in total(spy.losses).items() if key not in want}
    with attached(head):
        got = total(loss(head, name, inputs, WEIGHTS))
    for key in want:
        assert got[key] == pytest.approx(want[key], rel=1e-4), key
        assert abs(want[key] / total(spy.losses)[key] - 1) > 1e-3
    assert all(got[key] < 0.999 * others[key] for key in others)


def test_later_boxes_own_the_cells_where_guided_centres_overlap():
    head = make('GARetinaHead')
    boxes, shares = [[6., 8., 50., 44.], [16., 10., 60., 40.], [2., 20., 44., 60.]], [0.2, 0.4, 0.7]
    items = [item.gt_instances for item in samples(
        [shares, []], boxes=[boxes, []], labels=[[0, 0, 0], []])]
    plain_targets, plain, _ = head.ga_loc_targets(items, [(8, 12), (4, 6)])
    with attached(head):
        targets, weights, _ = head.ga_loc_targets(items, [(8, 12), (4, 6)])
    alone = [painted([box], [0.5], 1) == 0.5 for box in boxes]
    assert (alone[0] & alone[1]).any() and (alone[0] & alone[2]).any()
    for level, (target, before, after, same) in enumerate(zip(
            targets, plain, weights, plain_targets, strict=True)):
        assert torch.equal(target, same) and torch.equal(after[1], before[1])
        want = torch.tensor(painted(boxes, shares, level)).float() * before[0, 0]
        assert torch.equal(after[0, 0], want)


def test_free_anchor_s_bags():
    name = 'FreeAnchorRetinaHead'
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'positive_loss_single')
    want = 0.0
    for image, call in enumerate(spy.calls['positive_loss_single']):
        chances, deltas, anchors, _ = call['rows']
        for box, corners in enumerate(BOXES[image]):
            truth = np.tile(corners, (len(anchors), 1))
            iou = bbox_overlaps(torch.tensor(truth[:1]).float(), anchors)[0]
            bag = iou.topk(6, sorted=False).indices.numpy()  # as mmdet breaks its ties
            target = head.bbox_coder.encode(anchors[bag], torch.tensor(truth[bag]).float())
            location = np.exp(-0.75 * smooth_l1(array(deltas)[bag], array(target), 0.11).sum(1))
            joint = array(chances)[bag, LABELS[image][box]] * location
            share = 1 / (1 - joint)
            mean = (share * joint).sum() / share.sum()
            want += -WEIGHTS[image][box] * 0.5 * np.log(mean) / 4
    check(name, head, inputs, dict(positive_bag_loss=want), ['negative_bag_loss'])


def test_fsaf_weights_only_the_level_that_a_box_chose():
    name = 'FSAFHead'
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'loss_cls', 'loss_bbox', 'reweight_loss_single')
    levels = []
    for cls, reg in zip(spy.calls['loss_cls'], spy.calls['loss_bbox'], strict=True):
        positive = array(reg['weight'])[:, 0] > 0
        half = len(positive) // 2
        owner = [FLAT.index(nearest(array(reg['target'])[row:row + 1], row // half)[0])
                 if positive[row] else -1 for row in range(len(positive))]
        each = focal(array(cls['pred']), cls['target'].numpy()) * array(cls['weight']).reshape(
            len(owner), -1)
        iou, _, _ = overlap(array(reg['pred']), np.where(positive[:, None], array(reg['target']),
                                                         array(reg['pred'])))
        levels.append((np.array(owner), each, -np.log(np.maximum(iou, 1e-6)), cls['target']))
    mean = [[(each.sum(1) + regression)[owner == box].mean() if (owner == box).any() else 1e6
             for box in range(4)] for owner, each, regression, _ in levels]
    choice = np.argmin(mean, 0)
    assert len(set(choice)) == 2
    want, chosen = dict(loss_cls=0.0, loss_bbox=0.0), 0
    for level, (owner, each, regression, labels) in enumerate(levels):
        for row, box in enumerate(owner):
            terms = each[row].copy()
            if box >= 0 and choice[box] == level:
                chosen += 1
                terms *= ALL[box]
                want['loss_bbox'] += ALL[box] * regression[row]
            elif box >= 0:
                terms[labels[row]] = 0
            want['loss_cls'] += terms.sum()
    check(name, head, inputs, {key: value / chosen for key, value in want.items()})


def test_yolact_s_masks():
    box = make('YOLACTHead')
    head = build(protonet()).train()
    inputs = tuple(features('YOLACTHead'))
    torch.manual_seed(11)
    box.loss(inputs, samples(masks=True))
    infos = box.get_positive_infos()
    predictions, _ = head(inputs, infos)
    crops = head.crop_mask_preds(predictions, [item.metainfo for item in samples()], infos)
    sums, count = 0.0, 0
    for image, (crop, sample) in enumerate(zip(crops, samples(masks=True), strict=True)):
        masks = torch.as_tensor(sample.gt_instances.masks.masks).float()[None]
        small = torch.nn.functional.interpolate(masks, (16, 24), mode='bilinear')[0] > 0.5
        for p, owner in zip(array(crop), nearest(array(infos[image].bboxes), image), strict=True):
            truth, (x1, y1, x2, y2) = small[owner[1]].numpy(), BOXES[image][owner[1]]
            with np.errstate(divide='ignore'):  # the losses' logarithms end at -100
                each = -np.maximum(np.log(np.where(truth, p, 1 - p)), -100)
            share = (x2 - x1) / 96 * (y2 - y1) / 64
            sums += WEIGHTS[image][owner[1]] * 6.125 * each.mean() / share
            count += 1
    with attached(head):
        got = head.loss(inputs, samples(WEIGHTS, masks=True), positive_infos=infos)
    assert total(got)['loss_mask'] == pytest.approx(sums / count, rel=1e-4)
