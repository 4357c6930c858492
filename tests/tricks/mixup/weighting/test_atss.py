"""ATSSHead and its relations: the weighted losses against a second derivation, and edge cases."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
import types

import numpy as np
import pytest
import torch
from support.weighting.atss_hand import parts, recorded
from support.weighting.atss_heads import CLASSES, HEADS, LABELS, STRIDES, Asked, head_cfg, train_cfg
from support.weighting.kit import (
    BOXES,
    WEIGHTS,
    attached,
    build,
    finite_differences,
    float32_sum,
    prove,
    samples,
    total,
)
from torch.overrides import TorchFunctionMode

pytestmark = pytest.mark.slow

CASES = [(name, 0) for name in HEADS] + [('TOODHead', 5)]
ONES = [[1.0] * len(row) for row in WEIGHTS]
FLAT = [weight for row in WEIGHTS for weight in row]


@functools.cache
def asked(name, epoch=0):
    """A head of its own per case, built once."""
    return Asked(name, epoch)


def divided(name, epoch, calls, made):
    """The parts of `parts`, summed over levels, after the divisions that follow the losses."""
    def summed(loss):
        return sum(weight.sum() for _, weight, _, _ in calls[loss])

    def quality():
        return sum(args[1][1].sum() for args, *_ in calls['loss_cls'])

    result = {loss: sum(levels) for loss, levels in made.items()}
    if name in ('ATSSHead', 'GFLHead', 'LDHead', 'TOODHead') or name.startswith('RTMDet'):
        result['loss_bbox'] /= max(summed('loss_bbox'), 1)
    if name in ('GFLHead', 'LDHead'):
        result['loss_dfl'] /= max(summed('loss_bbox'), 1)
    if name.startswith('RTMDet') or epoch:
        result['loss_cls'] /= max(quality(), 1)
    if name == 'TOODHead' and not epoch:
        num_positives = sum((args[1] < CLASSES).sum() for args, *_ in calls['initial_loss_cls'])
        result['loss_cls'] = result.pop('initial_loss_cls') / max(num_positives, 1)
    if name == 'DDODHead':
        result = reweighted(calls, made)
    names = {'loss_bbox_refine': 'loss_bbox_rf'}
    if name in ('PAAHead', 'LADHead'):
        names['loss_centerness'] = 'loss_iou'
    return {names.get(loss, loss): value for loss, value in result.items()}


def reweighted(calls, made):
    """DDOD's factor per level: 2 where the fewest positives were, 1 where the most."""
    of_class = np.array([(args[1] < CLASSES).sum() for args, *_ in calls['loss_cls']])
    of_boxes = np.array([(weight > 0).sum() for _, weight, _, _ in calls['loss_iou']])
    result = {}
    for loss, levels in made.items():
        counts = of_class if loss == 'loss_cls' else of_class + of_boxes
        factors = 2 - (counts - counts.min()) / (counts.max() - counts.min())
        result[loss] = sum(factor * level for factor, level in zip(factors, levels, strict=True))
    return result


@pytest.mark.parametrize(('name', 'epoch'), CASES)
def test_each_box_s_part_is_multiplied_and_equals_the_part_computed_by_hand(name, epoch):
    case = asked(name, epoch)
    with recorded(case.head) as calls:
        plain = total(case.losses())
    background, proved = prove([case.head], case.losses)
    strides = STRIDES if name in ('GFLHead', 'LDHead', 'TOODHead') else None
    by_hand = divided(name, epoch, calls, parts(calls, strides))
    assert set(by_hand) == set(plain)
    with attached(case.head):
        weighted = total(case.losses(WEIGHTS))
    proved = [part for row in proved for part in row]
    for loss, (*boxes, behind) in by_hand.items():
        assert sum(boxes) + behind == pytest.approx(plain[loss], rel=1e-4)
        assert background[loss] == float32_sum(behind, plain[loss])
        assert [part[loss] for part in proved] == float32_sum(boxes, plain[loss], rel=2e-3)
        assert weighted[loss] == pytest.approx(behind + np.dot(FLAT, boxes), rel=1e-4)


@pytest.mark.parametrize('name', ['ATSSHead', 'GFLHead', 'PAAHead', 'DDODHead', 'RTMDetHead'])
def test_anchors_outside_of_the_image_are_no_part_of_the_assignment(name):
    case = Asked(name, options=dict(allowed_border=0))
    prove([case.head], functools.partial(case.losses, shape=(52, 90)))


@pytest.mark.parametrize(('name', 'epoch'), CASES)
def test_the_gradient_is_that_of_the_parts_times_the_weights(name, epoch):
    case = asked(name, epoch)
    parameters = list(case.head.parameters())

    def gradient(weights):
        losses = case.losses(weights).values()
        loss = sum(sum(item) if isinstance(item, (list, tuple)) else item for item in losses)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        return torch.cat([item.reshape(-1) for item in grads if item is not None])

    plain = gradient(None)
    with attached(case.head):
        assert torch.equal(gradient(ONES), plain)
        mixed = gradient(WEIGHTS)
        want = plain.clone()
        for image, row in enumerate(WEIGHTS):
            for box, weight in enumerate(row):
                probe = [list(item) for item in ONES]
                probe[image][box] = 2.0
                want += (weight - 1) * (gradient(probe) - plain)
    assert torch.allclose(mixed, want, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


# Head, loss, which of the head's outputs it is differentiated by; only such as no target and no
# denominator depends on. TOODHead's later epochs have none.
SLOPES = [('ATSSHead', 0, 'loss_cls', 0), ('ATSSHead', 0, 'loss_bbox', 1),
          ('ATSSHead', 0, 'loss_centerness', 2), ('GFLHead', 0, 'loss_cls', 0),
          ('GFLHead', 0, 'loss_bbox', 1), ('GFLHead', 0, 'loss_dfl', 1),
          ('PAAHead', 0, 'loss_cls', 0), ('PAAHead', 0, 'loss_iou', 2),
          ('TOODHead', 0, 'loss_bbox', 1), ('DDODHead', 0, 'loss_iou', 2),
          ('VFNetHead', 0, 'loss_cls', 0), ('RTMDetHead', 0, 'loss_cls', 0),
          ('RTMDetInsHead', 0, 'loss_mask', 3)]


@pytest.mark.parametrize(('name', 'epoch', 'loss', 'place'), SLOPES)
def test_gradients_agree_with_finite_differences(name, epoch, loss, place):
    case = asked(name, epoch)
    outs = [[item.detach() for item in out] if isinstance(out, (list, tuple)) else out.detach()
            for out in case.head(case.feats)]
    leaf = (outs[place][0] if isinstance(outs[place], list) else outs[place]).requires_grad_()

    def compute(weights):
        batch = samples(weights, labels=LABELS, masks=case.masks)
        if name == 'DDODHead':
            case.head.cls_num_pos_samples_per_level = [0.0] * len(STRIDES)
        value = case.head.loss_by_feat(*outs, [item.gt_instances for item in batch],
                                       [item.metainfo for item in batch])[loss]
        return sum(value) if isinstance(value, (list, tuple)) else value

    case.losses()  # TOODHead reads the epoch
    plain, = torch.autograd.grad(compute(None), leaf)
    with attached(case.head):
        gradient, = torch.autograd.grad(compute(WEIGHTS), leaf)
        most = (gradient - plain).abs().flatten().argsort(descending=True)[:3]
        places = [tuple(int(i) for i in np.unravel_index(int(item), leaf.shape)) for item in most]
        assert all(abs(float(gradient[item] - plain[item])) > 1e-4 for item in places)
        with torch.no_grad():
            finite_differences(lambda: compute(WEIGHTS), leaf, gradient, places, step=5e-3)


class Waits(TorchFunctionMode):
    """Counts what makes the host wait for a device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = func.__name__
        by_mask = name in ('__getitem__', '__setitem__') and any(
            isinstance(item, torch.Tensor) and item.dtype in (torch.bool, torch.uint8)
            for item in (args[1] if isinstance(args[1], tuple) else args[1:2]))
        self.count += by_mask or name in (
            '__bool__', '__float__', '__int__', 'item', 'tolist', 'nonzero', 'masked_select',
            'unique', 'unique_consecutive', 'bincount')
        return func(*args, **(kwargs or {}))


# GIoULoss asks whether a weight is above 0 if it gets one: per level, and once.
@pytest.mark.parametrize(('name', 'epoch', 'more'), [
    (name, epoch, {'DDODHead': len(STRIDES), 'LADHead': 1}.get(name, 0)) for name, epoch in CASES])
def test_the_host_waits_for_the_device_as_often_as_without_weights(name, epoch, more):
    case = asked(name, epoch)
    counts = []
    for weights in (None, WEIGHTS):
        with attached(case.head) if weights else contextlib.nullcontext(), Waits() as waits:
            case.losses(weights)
        counts.append(waits.count)
    assert counts[1] - counts[0] == more


@pytest.mark.parametrize(('name', 'epoch'), CASES)
def test_images_without_boxes_add_background_only(name, epoch):
    case = asked(name, epoch)
    one = dict(boxes=[BOXES[0], []], labels=[LABELS[0], []])
    none = dict(boxes=[[], []], labels=[[], []])
    plain, empty = case.losses(**one), case.losses(**none)
    with attached(case.head) as hook:
        assert total(case.losses([[1.0] * 3, []], **one)) == total(plain)
        assert total(case.losses([[], []], **none)) == total(empty)
        assert hook.weighted_positives == 0
        assert total(case.losses([[0.2, 0.2, 0.2], []], **one))['loss_cls'] < \
            total(plain)['loss_cls']
        assert hook.weighted_positives > 0


@pytest.mark.parametrize('name', ['ATSSHead', 'GFLHead', 'PAAHead', 'RTMDetInsHead'])
def test_bfloat16_autocast_keeps_the_bits_at_weights_1_and_weighs_otherwise(name):
    case = asked(name)
    with torch.autocast('cpu', dtype=torch.bfloat16), attached(case.head):
        plain = case.losses()
        assert total(case.losses(ONES)) == total(plain)
        halved = case.losses([[0.5] * len(row) for row in WEIGHTS])
    assert total(halved)['loss_bbox'] == pytest.approx(0.5 * total(plain)['loss_bbox'], rel=1e-5)


@pytest.mark.parametrize('name', ['ATSSHead', 'LADHead', 'RTMDetInsHead'])
def test_samples_without_weights_are_an_error_while_mixup_is_on_and_leave_no_trace(name):
    case = asked(name)
    mixup = types.SimpleNamespace(enabled=True)
    with attached(case.head) as hook:
        hook._adapters[0]._transforms = [mixup]
        with pytest.raises(ValueError, match=r'tricks_plugin\.PackWeightedDetInputs'):
            case.losses()
        weighted = total(case.losses(WEIGHTS))
        mixup.enabled = False
        assert total(case.losses()) != weighted
        case.head.loss_bbox.register_forward_pre_hook(_fail)
        with pytest.raises(RuntimeError, match='a loss broke'):
            case.losses(WEIGHTS)
        case.head.loss_bbox._forward_pre_hooks.popitem()
        assert (hook._adapters[0]._sampled, hook._adapters[0]._level) == ([], None)
        assert total(case.losses(WEIGHTS)) == weighted


def _fail(module, args):
    raise RuntimeError('a loss broke')


@pytest.mark.parametrize('name', ['ATSSHead', 'PAAHead', 'RTMDetInsHead'])
def test_copies_of_an_attached_head_weigh_by_themselves(name):
    case = Asked(name)
    with attached(case.head) as hook:
        weighted = total(case.losses(WEIGHTS))
        seen = hook.weighted_positives
        for head in (copy.deepcopy(case.head), pickle.loads(pickle.dumps(case.head))):
            other = copy.copy(case)
            other.head = head
            assert total(other.losses(WEIGHTS)) == weighted
        assert hook.weighted_positives == seen


def test_boxes_that_are_equal_share_the_first_one_s_weight_in_ladhead():
    case = asked('LADHead')
    twice = dict(boxes=[BOXES[0][:1] * 2, BOXES[1]], labels=[[1, 1], [3]])
    with attached(case.head):
        first = total(case.losses([[0.3, 0.7], [1.0]], **twice))
        assert total(case.losses([[0.3, 0.1], [1.0]], **twice)) == first
        assert total(case.losses([[0.4, 0.7], [1.0]], **twice)) != first


GHM = dict(type='GHMC', bins=5)


@pytest.mark.parametrize(('name', 'settings', 'trained'), [
    ('ATSSHead', dict(loss_cls=GHM), True), ('DDODHead', dict(loss_cls=GHM), True),
    ('ATSSHead', {}, False), ('GFLHead', {}, False), ('TOODHead', {}, False),
    ('RTMDetInsHead', {}, False), ('LADHead', {}, False),
    ('VFNetHead', dict(use_atss=False), True),
    ('VFNetHead', dict(loss_cls=dict(type='QualityFocalLoss')), True),
    ('LADHead', dict(reg_decoded_bbox=False), True),
    ('RTMDetInsHead', dict(loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True)), True)])
def test_what_cannot_be_weighted_is_named_and_left_alone(name, settings, trained):
    head = build(dict(head_cfg(name, **settings), train_cfg=train_cfg(name) if trained else None))
    with attached(head) as hook:
        assert hook.weighted_heads == []
        assert hook.unweighted_heads == [f'0 ({name})']


def test_a_loss_given_as_a_function_is_not_weighted():
    head = Asked('ATSSHead').head
    del head.loss_bbox
    head.loss_bbox = torch.nn.functional.l1_loss
    with attached(head) as hook:
        assert hook.weighted_heads == []


def test_a_loss_with_other_rows_than_were_assigned_is_an_error():
    case = Asked('ATSSHead')
    case.head.loss_cls.register_forward_pre_hook(_first_rows)
    with attached(case.head), pytest.raises(
            ValueError, match=r'loss_cls of ATSSHead must get one per prediction.*192, got 7'):
        case.losses(WEIGHTS)


def _first_rows(module, args):
    return tuple(item[:7] for item in args)
