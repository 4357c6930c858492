"""The AnchorHead family's weighted losses against sums made by hand, in NumPy and float64.

The predictions, targets and sampled elements are those of a twin without weights. Which box a
positive belongs to is read back from its regression target, not from the sampler.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.weighting.anchor_hand import (
    WEIGHTS,
    Spy,
    anchors_of,
    array,
    balanced,
    bce,
    check,
    factors,
    focal,
    ghmc,
    ghmr,
    giou_loss,
    masked,
    nearest,
    one_hot,
    rows_of_level,
    sigmoid,
    smooth_l1,
    softmax_loss,
)
from support.weighting.anchor_zoo import features, loss, make
from support.weighting.kit import attached, samples

pytestmark = pytest.mark.slow

CLASSES = {
    'RetinaHead': lambda p, t: focal(p, t).sum(1), 'RetinaHead, decoded': lambda p, t: focal(
        p, t).sum(1), 'AnchorHead': lambda p, t: bce(p, one_hot(t, p.shape[1])).sum(1),
    'RPNHead': lambda p, t: bce(p, one_hot(t, 1)).sum(1),
    'RetinaHead, inside anchors, softmax, balanced': softmax_loss,
}


REGRESSIONS = {
    'RetinaHead': lambda p, t: np.abs(p - t).sum(1), 'RPNHead': lambda p, t: np.abs(p - t).sum(1),
    'RetinaHead, decoded': lambda p, t: 2 * giou_loss(p, t),
    'AnchorHead': lambda p, t: smooth_l1(p, t, 1 / 9).sum(1),
    'RetinaHead, inside anchors, softmax, balanced': lambda p, t: balanced(p, t).sum(1),
}


@pytest.mark.parametrize('name', CLASSES)
def test_classification_and_regression_level_by_level(name):
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'loss_cls', 'loss_bbox')
    want = dict.fromkeys(spy.losses, 0.0)
    for level, (cls, reg) in enumerate(zip(spy.calls['loss_cls'], spy.calls['loss_bbox'],
                                           strict=True)):
        row, positive = rows_of_level(head, level, reg, 'decoded' in name)
        labels = cls['target'].numpy()
        assert ((labels < head.num_classes) == positive).all()
        keys = list(want)
        want[keys[0]] += masked(CLASSES[name], array(cls['pred']), labels, array(cls['weight']),
                                row) / cls['avg_factor']
        want[keys[1]] += masked(REGRESSIONS[name], array(reg['pred']), array(reg['target']),
                                array(reg['weight'])[:, 0], row) / reg['avg_factor']
    check(name, head, inputs, want)


def test_gradient_harmonised_losses_keep_their_counts():
    name = 'RetinaHead, GHM'
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'loss_cls', 'loss_bbox')
    row, _ = rows_of_level(head, 0, spy.calls['loss_bbox'][0], False)
    cls, reg = spy.calls['loss_cls'][0], spy.calls['loss_bbox'][0]
    want_cls = ghmc(array(cls['pred']), cls['target'].numpy(), array(cls['weight']), row)
    want_reg = ghmr(array(reg['pred']), array(reg['target']), array(reg['weight']), row)
    with attached(head):
        torch.manual_seed(11)
        got = head.loss(tuple(inputs), samples(WEIGHTS))
    assert float(got['loss_cls'][0].detach()) == pytest.approx(want_cls, rel=1e-4)
    assert float(got['loss_bbox'][0].detach()) == pytest.approx(want_reg, rel=1e-4)
    averages = head.loss_cls.acc_sum.clone(), head.loss_bbox.acc_sum.clone()
    for module in (head.loss_cls, head.loss_bbox):
        module.acc_sum.zero_()
    torch.manual_seed(11)
    head.loss(tuple(inputs), samples())
    assert torch.equal(averages[0], head.loss_cls.acc_sum)
    assert torch.equal(averages[1], head.loss_bbox.acc_sum)


@pytest.mark.parametrize('name', ['SSDHead', 'YOLACTHead', 'PISASSDHead'])
def test_hard_negatives_image_by_image(name):
    head, inputs = make(name), features(name)
    method = 'OHEMloss_by_feat_single' if name == 'YOLACTHead' else 'loss_by_feat_single'
    spy = Spy(head, name, inputs, method)
    want, carl = dict(loss_cls=0.0, loss_bbox=0.0), []
    for image, call in enumerate(spy.calls[method]):
        score, pred, anchors, labels, label_weight, target, weight = call['rows'][:7]
        positive = array(weight)[:, 0] > 0
        assert (positive == (labels.numpy() < 2)).all()
        boxes = array(head.bbox_coder.decode(anchors, target))
        row = factors(len(labels), positive, boxes, lambda _, image=image: image)
        each = softmax_loss(array(score), labels.numpy()) * array(label_weight) * row
        hard = np.sort(each[~positive])[::-1][:3 * positive.sum()]
        want['loss_cls'] += (each[positive].sum() + hard.sum()) / call['avg_factor']
        difference = smooth_l1(array(pred), array(target), 1.0).sum(1)
        want['loss_bbox'] += (difference * row)[positive].sum() / call['avg_factor'] * (
            1.5 if name == 'YOLACTHead' else 1.0)
        chances = np.exp(-softmax_loss(array(score), labels.numpy()))
        carl.append((chances[positive], (difference * row)[positive], call['avg_factor']))
    if name == 'PISASSDHead':
        chances = 0.2 + 0.8 * np.concatenate([item[0] for item in carl])
        want['loss_carl'] = (chances / chances.mean() * np.concatenate(
            [item[1] for item in carl])).sum() / carl[0][2]
    check(name, head, inputs, want)


def test_pisa_s_reweighting_and_carl():
    name = 'PISARetinaHead'
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'loss_cls', 'loss_bbox')
    _, cls = spy.calls['loss_cls']  # the first is ISR's
    reg, _ = spy.calls['loss_bbox']  # the second is CARL's
    anchors = torch.cat([anchors_of(head, level) for level in (0, 1)])
    positive = array(reg['weight'])[:, 0] > 0
    boxes = array(head.bbox_coder.decode(anchors.repeat(2, 1), reg['target']))
    row = factors(len(boxes), positive, boxes, lambda place: place // len(anchors))
    labels, isr = cls['target'].numpy(), array(cls['weight'])
    assert len(np.unique(isr[positive])) > 3
    want = dict(loss_cls=masked(lambda p, t: focal(p, t).sum(1), array(cls['pred']), labels, isr,
                                row) / cls['avg_factor'])
    each = smooth_l1(array(reg['pred']), array(reg['target']), 0.11).sum(1)[positive]
    want['loss_bbox'] = (each * row[positive]).sum() / reg['avg_factor']
    chances = 0.2 + 0.8 * sigmoid(array(cls['pred']))[positive, labels[positive]]
    want['loss_carl'] = (each * row[positive] * chances / chances.mean()).sum() / reg['avg_factor']
    check(name, head, inputs, want)


def test_yolof_s_list_of_nearest_predictions():
    name = 'YOLOFHead'
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'loss_cls', 'loss_bbox', 'get_targets')
    (cls,), (reg,) = spy.calls['loss_cls'], spy.calls['loss_bbox']
    owner = nearest(array(reg['target']))
    row = np.array([WEIGHTS[image][box] for image, box in owner])
    want = dict(loss_bbox=(giou_loss(array(reg['pred']), array(reg['target'])) * array(
        reg['weight']) * row).sum() / reg['avg_factor'])
    assert 0 < array(reg['weight']).sum() < len(row)  # some are too far, and ignored
    samplings = sampled(head, name, inputs)
    row = np.ones((2, len(cls['target']) // 2))
    for image, (places, boxes) in enumerate(samplings):
        row[image, places] = np.array(WEIGHTS[image])[boxes]
    want['loss_cls'] = masked(lambda p, t: focal(p, t).sum(1), array(cls['pred']),
                              cls['target'].numpy(), array(cls['weight']),
                              row.ravel()) / cls['avg_factor']
    check(name, head, inputs, want)


def sampled(head, name, inputs):
    """Upstream's positives per image and their boxes, all anchors being inside the image."""
    results = []
    inner = head.sampler.sample

    def sample(*args, **kwargs):
        results.append(inner(*args, **kwargs))
        return results[-1]
    head.sampler.sample = sample
    loss(head, name, inputs)
    del head.sampler.sample
    return [(item.pos_inds.numpy(), item.pos_assigned_gt_inds.numpy()) for item in results]


def test_sabl_s_buckets():
    name = 'SABLRetinaHead'
    head, inputs = make(name), features(name)
    spy = Spy(head, name, inputs, 'loss_cls', 'loss_bbox_cls', 'loss_bbox_reg')
    row = np.ones((2, 96 + 24))  # one anchor per place of 8 x 12 and 4 x 6
    for image, (places, boxes) in enumerate(sampled(head, name, inputs)):
        row[image, places] = np.array(WEIGHTS[image])[boxes]
    want = dict.fromkeys(spy.losses, 0.0)
    for level, span in enumerate((slice(0, 96), slice(96, 120))):
        part = row[:, span].ravel()
        cls, bucket, reg = (spy.calls[key][level] for key in spy.calls)
        want['loss_cls'] += masked(lambda p, t: focal(p, t).sum(1), array(cls['pred']),
                                   cls['target'].numpy(), array(cls['weight']),
                                   part) / cls['avg_factor']
        each = bce(array(bucket['pred']), array(bucket['target'])) * array(bucket['weight'])
        want['loss_bbox_cls'] += 1.5 * (each.sum(1) * part).sum() / bucket['avg_factor']
        each = smooth_l1(array(reg['pred']), array(reg['target']), 1 / 9) * array(reg['weight'])
        want['loss_bbox_reg'] += 1.5 * (each.sum(1) * part).sum() / reg['avg_factor']
    check(name, head, inputs, want)
