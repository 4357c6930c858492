"""RoI heads: settings of the zoo, user subclasses, gradients, and what must not break."""

from __future__ import annotations

import copy
import functools
import pickle
import types

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads import Shared2FCBBoxHead, StandardRoIHead
from support.weighting.kit import (
    BOXES,
    LABELS,
    WEIGHTS,
    attached,
    build,
    finite_differences,
    prove,
    samples,
    total,
)
from support.weighting.roi_cases import (
    TRAIN,
    box_head,
    compute,
    extras,
    features,
    head_config,
    mask_head,
    proposals,
    roi_head,
)

from tricks_plugin import GeometryPreservingMixUp

pytestmark = pytest.mark.slow

BOX, MASK = '0.bbox_head (Shared2FCBBoxHead)', '0.mask_head (FCNMaskHead)'
VARIANTS = {
    'sigmoid cross entropy': box_head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)),
    'sigmoid custom cross entropy': box_head(loss_cls=dict(
        type='CrossEntropyCustomLoss', use_sigmoid=True, num_classes=3)),
    'focal custom': box_head(loss_cls=dict(type='FocalCustomLoss', num_classes=3)),
    'seesaw': box_head(loss_cls=dict(type='SeesawLoss', num_classes=3)),
    'balanced L1': box_head(loss_bbox=dict(type='BalancedL1Loss')),
    **{f'decoded boxes, {name}': box_head(reg_decoded_bbox=True, loss_bbox=dict(type=name))
       for name in ('IoULoss', 'GIoULoss', 'DIoULoss', 'CIoULoss', 'BoundedIoULoss')},
    'class-agnostic boxes': box_head(reg_class_agnostic=True),
}


def stateless(head, name, weights):
    """`compute` for a loss that counts the classes it has seen."""
    counts = getattr(head.bbox_head.loss_cls, 'cum_samples', None)
    if counts is not None:
        counts.zero_()
    return compute(head, name, weights)


@pytest.mark.parametrize('name', VARIANTS)
def test_the_box_losses_of_the_zoo_are_weighted(name):
    cfg = roi_head(box=VARIANTS[name], train_cfg=dict(TRAIN, pos_weight=2.5), test_cfg={})
    head = build(cfg).train()
    names = {key for key in stateless(head, 'mask', None) if 'loss' in key}
    prove([head], functools.partial(stateless, head, 'mask'), weighted=names)


@pytest.mark.parametrize('changes', [
    dict(mask=mask_head(class_agnostic=True)),
    dict(mask=mask_head(), mask_roi_extractor=None),  # masks from the box branch's features
], ids=['class-agnostic', 'shared features'])
def test_the_masks_of_the_zoo_are_weighted(changes):
    head = build(dict(roi_head(**changes), train_cfg=TRAIN, test_cfg={})).train()
    prove([head], functools.partial(compute, head, 'mask'))


def test_combined_samplers_are_weighted():
    sampler = dict(type='CombinedSampler', num=32, pos_fraction=0.5, add_gt_as_proposals=True,
                   pos_sampler=dict(type='InstanceBalancedPosSampler'),
                   neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, num_bins=3))
    head = build(head_config('dynamic', sampler=sampler)).train()
    prove([head], functools.partial(_seeded, head))


def _seeded(head, weights):
    np.random.seed(31)
    return compute(head, 'dynamic', weights)


class UsersBoxHead(Shared2FCBBoxHead):
    """Normalises by the sum of the weights, which must stay upstream's."""

    def loss(self, cls_score, bbox_pred, rois, labels, label_weights, bbox_targets, bbox_weights,
             reduction_override=None):
        factor = label_weights.sum() + bbox_weights.sum()
        box = bbox_pred.view(len(labels), self.num_classes, 4)[:, 0]
        return dict(loss_cls=self.loss_cls(cls_score, labels, label_weights, avg_factor=factor),
                    loss_bbox=self.loss_bbox(box, bbox_targets, weight=bbox_weights,
                                             avg_factor=factor))


class UsersRoIHead(StandardRoIHead):
    """Adds a loss of its own, from the same targets."""

    def bbox_loss(self, x, sampling_results):
        results = super().bbox_loss(x, sampling_results)
        results['loss_bbox']['loss_again'] = 3 * results['loss_bbox']['loss_cls']
        return results


def test_a_user_s_subclasses_are_weighted_and_keep_their_denominators():
    cfg = head_config('mask')
    cfg['type'], cfg['bbox_head']['type'] = UsersRoIHead, UsersBoxHead
    head = build(cfg).train()
    prove([head], functools.partial(compute, head, 'mask'))


def test_losses_that_ignore_weights_are_named_and_left_alone():
    cfg = head_config('mask')
    cfg['bbox_head']['loss_cls'] = dict(type='EQLV2Loss', num_classes=3)
    head = build(cfg).train()
    with attached(head) as hook:
        assert (hook.weighted_heads, hook.unweighted_heads) == ([MASK], [BOX])
    del cfg['mask_head'], cfg['mask_roi_extractor']
    with attached(build(cfg)) as hook:
        assert (hook.weighted_heads, hook.unweighted_heads) == ([], [BOX])


def test_semantic_and_global_heads_are_named_as_unweighted():
    with attached(build(head_config('scnet'))) as hook:
        assert hook.unweighted_heads == ['0.semantic_head (FusedSemanticHead)',
                                         '0.glbctx_head (GlobalContextHead)']


def test_a_head_without_training_settings_is_left_alone():
    for name in ('mask', 'cascade', 'multi'):
        with attached(build(dict(head_config(name), train_cfg=None))) as hook:
            assert hook.weighted_heads == []


@pytest.mark.parametrize('name', ['mask', 'cascade', 'grid', 'queryinst'])
@pytest.mark.parametrize('empty', [(1,), (0, 1)])
def test_images_without_boxes(name, empty):
    head = build(head_config(name)).train()
    boxes = [[] if image in empty else BOXES[image] for image in range(2)]
    labels = [[] if image in empty else LABELS[image] for image in range(2)]
    weights = [[] if image in empty else WEIGHTS[image] for image in range(2)]
    run = functools.partial(compute, head, name, boxes=boxes, labels=labels)
    plain = run(None)
    with attached(head, transforms=[GeometryPreservingMixUp()]) as hook:
        ones = run([[1.] * len(row) for row in weights])
        assert all(torch.equal(torch.as_tensor(ones[key]), torch.as_tensor(plain[key]))
                   for key in plain)
        mixed = run(weights)
        assert (hook.weighted_positives > 0) == (empty == (1,))
    assert (total(mixed) == total(plain)) == (empty == (0, 1))


@pytest.mark.parametrize('name', ['mask', 'sabl', 'queryinst', 'multi', 'scoring'])
def test_under_autocast_weights_of_one_change_nothing(name):
    head = build(head_config(name)).train()
    with torch.autocast('cpu', torch.bfloat16):
        prove([head], functools.partial(compute, head, name), rel=2e-2)


def test_samples_without_weights_are_an_error_while_mixup_is_on_and_the_next_batch_is_right():
    head = build(head_config('mask')).train()
    with attached(head, transforms=[GeometryPreservingMixUp()]):
        before = total(compute(head, 'mask', WEIGHTS))
        with pytest.raises(ValueError, match='PackWeightedDetInputs'):
            compute(head, 'mask', None)
        assert total(compute(head, 'mask', WEIGHTS)) == before


def test_sampling_results_of_somebody_else_are_an_error():
    head = build(head_config('mask')).train()
    with attached(head), pytest.raises(ValueError, match=r'bbox_sampler\.sample returned'):
        head.bbox_head.get_targets([types.SimpleNamespace(
            pos_inds=torch.arange(2), pos_priors=torch.ones(2, 4), neg_priors=torch.ones(1, 4),
            pos_gt_bboxes=torch.ones(2, 4), pos_gt_labels=torch.zeros(2).long())],
            head.train_cfg)


def test_a_loss_with_rows_of_unknown_meaning_is_an_error():
    head = build(head_config('mask')).train()
    head.bbox_head.__class__ = HalfBoxHead
    with attached(head), pytest.raises(ValueError, match=r'loss_cls must be called .* got 3 rows'):
        compute(head, 'mask', WEIGHTS)


class HalfBoxHead(Shared2FCBBoxHead):
    """Gives its loss three of the RoIs."""

    def loss(self, cls_score, bbox_pred, rois, labels, label_weights, *args, **kwargs):
        return dict(loss_cls=self.loss_cls(cls_score[:3], labels[:3], label_weights[:3]))


def test_copies_and_pickles_of_the_model_weight_their_own_losses():
    head = build(head_config('scoring')).train()
    with attached(head) as hook:
        twin = copy.deepcopy(head)
        pickle.dumps(head)
        want = total(compute(head, 'scoring', WEIGHTS))
        counted = hook.weighted_positives
        assert total(compute(twin, 'scoring', WEIGHTS)) == want
        assert hook.weighted_positives == counted
    assert total(compute(twin, 'scoring', WEIGHTS)) == want != total(
        compute(head, 'scoring', WEIGHTS))


# Places whose gradient passes no target, importance or proposal that upstream detaches.
GRADIENTS = {
    'mask': ['bbox_head.fc_cls.weight', 'bbox_head.fc_reg.weight', 'mask_head.conv_logits.weight'],
    'sabl': ['bbox_head.fc_cls.weight', 'bbox_head.fc_reg_cls.weight',
             'bbox_head.fc_reg_offset.weight'],
    'grid': ['grid_head.deconv2.weight'],
    'queryinst': ['bbox_head.1.fc_cls.weight', 'mask_head.1.conv_logits.weight'],
    'sparse': ['bbox_head.1.fc_reg.weight'],
    'multi': ['bbox_head.fc_cls.0.weight', 'bbox_head.fc_reg.1.weight'],
}


@pytest.mark.parametrize('name', GRADIENTS)
def test_gradients_agree_with_finite_differences(name):
    head = build(head_config(name)).double().train()
    parameters = dict(head.named_parameters())

    def loss():
        torch.manual_seed(29)
        batch = samples(WEIGHTS, masks=True, extras=functools.partial(extras, name))
        for sample in batch:
            sample.gt_instances.bboxes = sample.gt_instances.bboxes.double()
        losses = head.loss(features(torch.float64), proposals(name, torch.float64), batch)
        return sum(value.sum() for key, value in losses.items() if 'loss' in key)
    with attached(head):
        loss().backward()
        for key in GRADIENTS[name]:
            gradient = parameters[key].grad
            largest = gradient.abs().flatten().topk(2).indices
            places = [tuple(map(int, np.unravel_index(int(index), gradient.shape)))
                      for index in largest]
            # Upstream computes the binary cross entropies in float32 whatever the model's type.
            finite_differences(loss, parameters[key], gradient, places, step=1e-3, rel=5e-3)
