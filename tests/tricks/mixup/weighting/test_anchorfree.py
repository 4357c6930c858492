"""Every anchor-free head: weights of 1, linearity, gradients, training, odd batches."""

from __future__ import annotations

import copy
import functools
import pickle

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import FCOSHead, SOLOHead, YOLOXHead
from support.weighting import anchorfree_cases as cases
from support.weighting import kit

from tricks_plugin import GeometryPreservingMixUp

pytestmark = pytest.mark.slow

NAMES = sorted(cases.DETECTORS)
# Losses in which boxes have no part: AutoAssign's negatives, the push between two corners.
UNWEIGHTED = {'loss_neg', 'push_loss'}


@pytest.mark.parametrize('name', NAMES)
def test_weights_of_1_change_no_bit_and_losses_are_linear_in_the_weights(name):
    names = set(kit.total(cases.losses(name, None))) - UNWEIGHTED
    background, _ = kit.prove(cases.heads(name), lambda weights: cases.losses(name, weights),
                              weighted=names)
    for loss in UNWEIGHTED & set(background):
        assert background[loss] == pytest.approx(kit.total(cases.losses(name, None))[loss])


@pytest.mark.parametrize('name', NAMES)
def test_an_image_without_boxes_changes_nothing_and_has_no_part(name):
    kwargs = dict(boxes=[[], kit.BOXES[0]], labels=[[], kit.LABELS[0]])
    weights = [[], kit.WEIGHTS[0]]
    upstream = cases.losses(name, None, **kwargs)
    with kit.attached(*cases.heads(name)) as hook:
        same = cases.losses(name, [[], [1.0] * 3], **kwargs)
        assert hook.weighted_positives == 0
        less = kit.total(cases.losses(name, weights, **kwargs))
        assert hook.weighted_positives > 0
    assert kit.total(same) == kit.total(upstream)
    assert any(less[key] < value for key, value in kit.total(upstream).items())


def test_a_batch_without_any_box_changes_nothing():
    kwargs = dict(boxes=[[], []], labels=[[], []])
    for name in NAMES:
        if name in ('BoxInstBboxHead', 'CentripetalHead'):
            continue  # upstream's losses are 0 / 0, or its masks have no size, there
        upstream = kit.total(cases.losses(name, None, **kwargs))
        with kit.attached(*cases.heads(name)):
            assert kit.total(cases.losses(name, [[], []], **kwargs)) == upstream, name


@pytest.mark.parametrize('name', ['FCOSHead', 'CenterNetUpdateHead', 'CornerHead', 'YOLOXHead',
                                  'BoxInstBboxHead', 'SOLOHead', 'RepPointsHead'])
def test_bfloat16_autocast_keeps_weights_of_1_exact(name):
    with torch.autocast('cpu', dtype=torch.bfloat16):
        upstream = cases.losses(name, None)
        with kit.attached(*cases.heads(name)):
            same = cases.losses(name, [[1.0] * 3, [1.0]])
            mixed = cases.losses(name, kit.WEIGHTS)
    assert kit.total(same) == kit.total(upstream)
    assert kit.total(mixed) != kit.total(upstream)
    assert all(torch.isfinite(torch.tensor(value)) for value in kit.total(mixed).values())


@pytest.mark.parametrize('name', ['FCOSHead', 'RepPointsHead', 'CenterNetHead', 'YOLOXHead',
                                  'SOLOHead', 'AutoAssignHead', 'CenterNetUpdateHead'])
def test_samples_without_weights_are_an_error_that_names_the_packer_while_mixup_is_on(name):
    mixup = GeometryPreservingMixUp()
    with kit.attached(*cases.heads(name), transforms=[mixup]):
        with pytest.raises(ValueError, match='PackWeightedDetInputs'):
            cases.losses(name, None)
        mixup.enabled = False
        after_error = kit.total(cases.losses(name, None))
    assert after_error == kit.total(cases.losses(name, None))


@pytest.mark.parametrize('name', NAMES)
def test_a_real_detector_trains_one_weighted_step(name):
    if name == 'BoxInstBboxHead':
        pytest.importorskip('skimage', reason='its data preprocessor compares colours with it')
    part = 'mask_head' if 'SOLO' in name else 'bbox_head'
    heads = [f'{part} ({name})']
    if name in cases.MASK_OF:
        heads.append(f'mask_head ({cases.MASK_OF[name]})')
        cases.heads(name)
    kit.training_step(cases.detector(name), heads, masks=name in cases.MASKED)


def test_the_loss_of_v3det_and_a_class_agnostic_rpn_are_weighted_as_well():
    for config in (dict(num_classes=1),
                   dict(loss_cls=dict(type='FocalCustomLoss', num_classes=3, loss_weight=1.0))):
        built = [kit.build(dict(cases.HEADS['FCOSHead'], **config))]
        kwargs = dict(labels=[[0, 0, 0], [0]])
        kit.prove(built, lambda weights, built=built, kwargs=kwargs: cases.losses(
            'FCOSHead', weights, built, **kwargs))


class UsersFCOS(FCOSHead):
    """A user's head: mmdet's assignment, a loss of its own scaled afterwards."""

    def loss_by_feat(self, *args, **kwargs):
        """Halves the class loss."""
        losses = super().loss_by_feat(*args, **kwargs)
        return dict(losses, loss_cls=losses['loss_cls'] / 2)


class UsersSOLO(SOLOHead):
    """Assigns by rules of its own, that read the labels."""

    def _get_targets_single(self, gt_instances, featmap_sizes=None):
        return super()._get_targets_single(gt_instances[gt_instances.labels == 1], featmap_sizes)


class UsersYOLOX(YOLOXHead):
    """Assigns no box of class 0: the sampler is asked all the same."""

    def _get_targets_single(self, priors, cls_preds, boxes, objectness, gt_instances, *args):
        return super()._get_targets_single(priors, cls_preds, boxes, objectness,
                                           gt_instances[gt_instances.labels == 1], *args)


def users(kind, name):
    """A user's head with the configuration of a case."""
    cases.heads(name)
    config = {key: value for key, value in cases.HEADS[name].items() if key != 'type'}
    return kit.build(dict(config, type=kind))


@pytest.mark.parametrize('kind, name', [(UsersFCOS, 'FCOSHead'), (UsersYOLOX, 'YOLOXHead')])
def test_a_user_s_subclass_is_weighted_as_its_family(kind, name):
    built = [users(kind, name)]
    kit.prove(built, lambda weights: cases.losses(name, weights, built), weighted=['loss_cls'])


def test_a_subclass_whose_assignment_reads_labels_is_named_as_unweighted():
    with kit.attached(users(UsersSOLO, 'SOLOHead')) as hook:
        assert hook.weighted_heads == [] and hook.unweighted_heads == ['0 (UsersSOLO)']


@pytest.mark.parametrize('loss', [dict(type='GHMC', bins=5), dict(type='EQLV2Loss', num_classes=3)])
def test_a_loss_that_ignores_element_weights_is_named_as_unweighted(loss):
    config = dict(cases.HEADS['RepPointsHead'], loss_cls=dict(loss, use_sigmoid=True))
    with kit.attached(kit.build(config)) as hook:
        assert hook.weighted_heads == [] and hook.unweighted_heads == ['0 (RepPointsHead)']


def test_a_copy_of_a_weighted_head_weights_on_its_own():
    for name in ('FCOSHead', 'SOLOV2Head', 'YOLOXHead'):
        with kit.attached(*cases.heads(name)):
            copied = copy.deepcopy(cases.heads(name))
            assert kit.total(cases.losses(name, kit.WEIGHTS, copied)) == kit.total(
                cases.losses(name, kit.WEIGHTS))


def test_a_weighted_head_is_pickled_with_what_weights_it():
    for name in ('AutoAssignHead', 'CenterNetUpdateHead', 'CornerHead', 'CondInstBboxHead'):
        with kit.attached(*cases.heads(name)):
            loaded = pickle.loads(pickle.dumps(cases.heads(name)))
            assert kit.total(cases.losses(name, kit.WEIGHTS, loaded)) == kit.total(
                cases.losses(name, kit.WEIGHTS)), name


# Where a term's targets depend on the predictions without a gradient, differences of it see more
# than its gradient does: SimOTA's class targets are IoUs, AutoAssign's negatives weigh by IoU.
SMOOTH = {'YOLOXHead': ['loss_bbox', 'loss_obj', 'loss_l1'],
          'AutoAssignHead': ['loss_pos', 'loss_center']}


# Float32 upstream: two assigners, the centerness of FCOS's line, AutoAssign's center prior.
SINGLE = ('RepPointsHead', 'YOLOXHead')
COARSE = (*SINGLE, 'AutoAssignHead', 'FCOSHead', 'NASFCOSHead', 'CondInstBboxHead',
          'BoxInstBboxHead')


def leaves(outs, dtype):
    """The outputs of a head as leaves, in the same nesting, and the list of them."""
    if torch.is_tensor(outs):
        leaf = outs.detach().to(dtype).requires_grad_()
        return leaf, [leaf]
    if outs is None:
        return None, []
    nested, flat = zip(*[leaves(part, dtype) for part in outs], strict=True)
    return list(nested), [leaf for part in flat for leaf in part]


@pytest.mark.parametrize('name', [*NAMES, 'CondInstMaskHead'])
def test_gradients_agree_with_finite_differences_of_the_weighted_loss(name):
    case = name.replace('MaskHead', 'BboxHead')
    head = cases.heads(case)[case != name]
    batch = cases.data(case, kit.WEIGHTS)
    instances = [sample.gt_instances for sample in batch]
    dtype = torch.float32 if name in SINGLE else torch.float64
    for item in instances:
        item.bboxes = item.bboxes.to(dtype)
    kwargs = dict(batch_gt_instances=instances,
                  batch_img_metas=[sample.metainfo for sample in batch])
    inputs = [cases.features(case)]
    if case != name:
        cases.losses(case, None)
        inputs.append(cases.heads(case)[0].get_positive_infos())
        kwargs['positive_infos'] = inputs[1]
    with torch.no_grad():
        outs, flat = leaves(head(*inputs), dtype)
    if name == 'AutoAssignHead':
        flat = [*flat, *head.center_prior.parameters()]

    def loss(key):
        torch.manual_seed(9)
        terms = head.loss_by_feat(*outs, **kwargs)[key]
        return sum(torch.as_tensor(term).sum() for term in kit._flat(terms))

    tolerance = (dict(step=5e-3, rel=2e-2) if name in COARSE else
                 dict(step=1e-5, rel=1e-3, single=False))
    with kit.attached(*cases.heads(case)) as hook:
        for key in SMOOTH.get(name) or head.loss_by_feat(*outs, **kwargs):
            gradients = torch.autograd.grad(loss(key), flat, allow_unused=True)
            checked = 0
            for leaf, gradient in zip(flat, gradients, strict=True):
                if gradient is not None and gradient.abs().max() > 0:
                    place = np.unravel_index(int(gradient.abs().argmax()), leaf.shape)
                    kit.finite_differences(functools.partial(loss, key), leaf, gradient,
                                           places=[tuple(map(int, place))], **tolerance)
                    checked += 1
            assert checked > 0, key
        assert hook.weighted_positives > 0
