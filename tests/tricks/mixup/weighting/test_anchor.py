"""The AnchorHead family under weights: linear, bit-equal at 1, gradients, real detectors."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from support.weighting.anchor_zoo import (
    HEADS,
    IN,
    PISA,
    batch,
    features,
    loss,
    make,
    protonet,
    retina,
    train,
    yolact,
)
from support.weighting.kit import (
    BOXES,
    LABELS,
    WEIGHTS,
    attached,
    build,
    finite_differences,
    float32_sum,
    prove,
    samples,
    total,
    training_step,
)

from tricks_plugin import GeometryPreservingMixUp
from tricks_plugin.tricks.mixup.weighting.families import load_adapter

pytestmark = pytest.mark.slow

EMPTY = dict(boxes=[BOXES[0], []], labels=[LABELS[0], []])


@pytest.fixture(scope='module')
def heads():
    return {name: make(name) for name in HEADS}


@pytest.mark.parametrize('name', HEADS)
def test_losses_are_upstream_s_at_1_linear_in_the_weights_and_taken_off(name, heads):
    head, inputs = heads[name], features(name)
    weighted = ['positive_bag_loss'] if name == 'FreeAnchorRetinaHead' else None
    prove([head], lambda weights: loss(head, name, inputs, weights), weighted=weighted)


@pytest.mark.parametrize('name', HEADS)
def test_an_image_without_boxes_is_background(name, heads):
    head, inputs = heads[name], features(name)
    plain = total(loss(head, name, inputs, **EMPTY))
    nothing = dict(boxes=[[], []], labels=[[], []])
    bare = total(loss(head, name, inputs, **nothing))
    with attached(head) as hook:
        assert total(loss(head, name, inputs, [[1.] * 3, []], **EMPTY)) == plain
        assert total(loss(head, name, inputs, [[], []], **nothing)) == bare
        assert hook.weighted_positives == 0
        mixed = total(loss(head, name, inputs, [[0.3, 0.3, 0.7], []], **EMPTY))
        assert hook.weighted_positives > 0
    assert mixed != plain


# Parameters along which the assignment and the detached quantities stand still: with PISA the
# regression's (ISR looks at the scores), with FreeAnchor the classification's (its box
# probabilities are made from boxes without gradient), with cascades the last stage's. The step
# is larger where mmdet computes in float32 whatever comes in.
PLACES = {
    'RetinaHead': (1e-6, ('retina_cls.bias', 0), ('retina_reg.weight', 5, 3, 1, 1)),
    'RetinaHead, GHM': (1e-4, ('retina_cls.bias', 1), ('retina_reg.bias', 2)),
    'RPNHead': (1e-2, ('rpn_cls.bias', 1), ('rpn_reg.weight', 5, 3, 0, 0)),
    'SSDHead': (1e-6, ('cls_convs.1.0.bias', 1), ('reg_convs.1.0.bias', 2)),
    'FreeAnchorRetinaHead': (1e-6, ('retina_cls.bias', 0), ('retina_cls.bias', 3)),
    'FSAFHead': (1e-6, ('retina_cls.bias', 0), ('retina_reg.bias', 2)),
    'PISARetinaHead': (1e-6, ('retina_reg.bias', 0), ('retina_reg.weight', 5, 3, 1, 1)),
    'PISASSDHead': (1e-6, ('reg_convs.1.0.bias', 2), ('reg_convs.0.0.bias', 1)),
    'SABLRetinaHead': (1e-2, ('retina_bbox_cls.bias', 3), ('retina_bbox_reg.bias', 3)),
    'YOLOFHead': (1e-2, ('cls_score.bias', 1), ('bbox_pred.bias', 2)),
    'GARetinaHead': (3e-3, ('conv_loc.bias', 0), ('retina_reg.bias', 1)),
    'CascadeRPNHead': (3e-3, ('stages.1.rpn_cls.bias', 0), ('stages.1.rpn_reg.bias', 1)),
    'YOLACTHead': (1e-6, ('conv_cls.bias', 1), ('conv_reg.bias', 2)),
}
SINGLE = ('YOLOFHead', 'GARetinaHead', 'CascadeRPNHead')  # mmdet takes no float64


@pytest.mark.parametrize('name', PLACES)
def test_gradients_agree_with_finite_differences(name):
    step, *places = PLACES[name]
    double = name not in SINGLE
    head, inputs = make(name, 7, double), features(name, 3, double)
    parameters = dict(head.named_parameters())

    def value():
        return sum(term.double().sum() for entry in loss(head, name, inputs, WEIGHTS).values()
                   for term in (entry if isinstance(entry, list) else [entry]))
    with attached(head):
        gradients = torch.autograd.grad(value(), [parameters[path] for path, *_ in places])
        for (path, *place), gradient in zip(places, gradients, strict=True):
            tolerance = 1e-4 if step < 1e-5 else 3e-2
            finite_differences(value, parameters[path], gradient, [tuple(place)], step,
                               rel=tolerance, single=step > 1e-3)


def backbone(indices):
    return dict(type='ResNet', depth=18, base_channels=4, num_stages=3, strides=(1, 2, 2),
                dilations=(1, 1, 1), out_indices=indices, norm_cfg=dict(type='BN'))


def detector(head, kind='SingleStageDetector', **kwargs):
    head = copy.deepcopy(head)
    proposals = kind == 'RPN'
    settings = head.pop('train_cfg')
    if proposals:
        settings = dict(rpn=settings)
    neck = dict(type='FPN', in_channels=[8, 16], out_channels=IN, num_outs=2)
    head.pop('test_cfg', None)
    return dict(dict(type=kind, backbone=backbone((1, 2)), neck=neck, train_cfg=settings,
                     test_cfg=dict(rpn=dict()) if proposals else dict(),
                     data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.] * 3,
                                            std=[60.] * 3, pad_mask=True),
                     **{'rpn_head' if proposals else 'bbox_head': head}), **kwargs)


KINDS = {'RPNHead': 'RPN', 'GARPNHead': 'RPN', 'CascadeRPNHead': 'RPN', 'FSAFHead': 'FSAF',
         'YOLOFHead': 'YOLOF', 'RetinaHead': 'RetinaNet'}


@pytest.mark.parametrize('name', [name for name in HEADS if 'YOLACT' not in name])
def test_a_real_detector_trains_one_step(name):
    kwargs = {}
    if name == 'YOLOFHead':
        kwargs = dict(backbone=backbone((2,)), neck=dict(
            type='DilatedEncoder', in_channels=16, out_channels=IN, block_mid_channels=4,
            num_residual_blocks=1, block_dilations=[2]))
    head = HEADS[name]
    kind = head['type']
    wanted = {f'bbox_head ({kind})'}
    if name == 'CascadeRPNHead':
        wanted = {f'bbox_head.stages.{stage} (StageCascadeRPNHead)' for stage in (0, 1)}
    training_step(detector(head, KINDS.get(kind, 'SingleStageDetector'), **kwargs), wanted)


class HalvedHead(RetinaHead):
    """A user's head: half the regression, targets and losses inherited otherwise."""

    def loss_by_feat_single(self, *args, **kwargs):
        classification, regression = super().loss_by_feat_single(*args, **kwargs)
        return classification, 0.5 * regression


class ForeignHead(RetinaHead):
    """A user's head whose targets are laid out in a way of its own."""

    def _get_targets_single(self, *args, **kwargs):
        return super()._get_targets_single(*args, **kwargs)[::-1]


def test_a_user_s_subclass_is_weighted_and_trains():
    cfg = retina()
    cfg['type'] = HalvedHead
    head, inputs = build(copy.deepcopy(cfg)), features('RetinaHead')
    prove([head], lambda weights: loss(head, 'RetinaHead', inputs, weights))
    training_step(detector(cfg), {'bbox_head (HalvedHead)'})


def test_a_subclass_with_targets_of_its_own_is_an_error_and_not_wrong():
    cfg = retina()
    cfg['type'] = ForeignHead
    head = build(cfg)
    with attached(head), pytest.raises(ValueError, match='ForeignHead must return the result of '
                                       'its own sampler as item 6'):
        loss(head, 'RetinaHead', features('RetinaHead'), WEIGHTS)


def both(box, mask, inputs, weights=None, **kwargs):
    """The losses of YOLACT's two heads, as SingleStageInstanceSegmentor calls them."""
    torch.manual_seed(11)
    kwargs = dict(dict(masks=True), **kwargs)
    losses = box.loss(inputs, samples(weights, **kwargs))
    losses.update(mask.loss(inputs, samples(weights, **kwargs),
                            positive_infos=box.get_positive_infos()))
    return losses


@pytest.mark.parametrize('most', [100, 3])
def test_yolact_s_mask_loss_is_weighted_and_its_semantic_loss_is_not(most):
    box, mask = make('YOLACTHead'), build(protonet(most)).train()
    inputs = tuple(features('YOLACTHead'))
    names = ('loss_cls', 'loss_bbox', 'loss_mask')
    background, _ = prove([box, mask], lambda weights: both(box, mask, inputs, weights),
                          weighted=names if most == 100 else names[:2])
    plain = total(both(box, mask, inputs))
    assert background['loss_mask'] == float32_sum(0, plain['loss_mask'])
    assert background['loss_segm'] == plain['loss_segm']
    empty = total(both(box, mask, inputs, **EMPTY))
    with attached(box, mask):
        assert total(both(box, mask, inputs, [[1.] * 3, []], **EMPTY)) == empty


def test_yolact_trains_one_step():
    cfg = detector(yolact(), 'YOLACT', mask_head=protonet())
    training_step(cfg, {'bbox_head (YOLACTHead)', 'mask_head (YOLACTProtonet)'}, masks=True)


@pytest.mark.parametrize('name', ['RetinaHead', 'RetinaHead, GHM', 'SSDHead', 'FSAFHead'])
def test_under_autocast_losses_are_upstream_s_at_1_and_weighted(name, heads):
    head, inputs = heads[name], features(name)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        plain = total(loss(head, name, inputs))
        with attached(head):
            assert total(loss(head, name, inputs, [[1.] * 3, [1.]])) == plain
            mixed = total(loss(head, name, inputs, WEIGHTS))
    assert all(mixed[key] < plain[key] for key in plain)


@pytest.mark.parametrize('name', ['RetinaHead', 'FreeAnchorRetinaHead', 'FSAFHead', 'YOLOFHead',
                                  'GARPNHead', 'PISASSDHead'])
def test_samples_without_weights_while_mixup_is_on_are_an_error(name, heads):
    with attached(heads[name], transforms=[GeometryPreservingMixUp()]), pytest.raises(
            ValueError, match='PackWeightedDetInputs'):
        loss(heads[name], name, features(name))


def test_a_weight_of_0_takes_the_box_s_part_away_and_nothing_else(heads):
    for name in ('RetinaHead', 'RetinaHead, GHM', 'GARetinaHead', 'SSDHead'):
        head, inputs = heads[name], features(name)
        with attached(head):
            none, one, half = (total(loss(head, name, inputs, [[w, 1., 1.], [1.]]))
                               for w in (0., 1., 0.5))
        for key in one:
            assert none[key] == float32_sum(2 * half[key] - one[key], one[key])


@pytest.mark.parametrize('cfg', [
    retina(train_cfg=None), retina(loss_cls=dict(type='EQLV2Loss', num_classes=2)),
    retina(train_cfg=dict(train(), pos_weight=2.), loss_cls=dict(type='GHMC')),
    retina('PISARetinaHead', loss_cls=dict(type='GHMC'), train_cfg=train(**PISA)),
    dict(HEADS['YOLOFHead'], train_cfg=train()),
], ids=['without train_cfg', 'EQLv2', 'GHM with pos_weight', 'GHM with PISA',
        'YOLOF with another assigner'])
def test_heads_that_cannot_be_weighted_are_left_alone_and_named(cfg):
    head = build(copy.deepcopy(cfg))
    assert not load_adapter(type(head)).supports(head)
    with attached(head) as hook:
        assert hook.unweighted_heads == [f'0 ({cfg["type"]})']
        assert '_get_targets_single' not in head.__dict__


@pytest.mark.parametrize('name', ['RetinaHead', 'FSAFHead', 'PISASSDHead', 'CascadeRPNHead'])
def test_copies_and_pickles_of_an_attached_head_are_weighted_on_their_own(name, heads):
    head, inputs = heads[name], features(name)
    with attached(head) as hook:
        want = total(loss(head, name, inputs, WEIGHTS))
        count = hook.weighted_positives
        for twin in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
            assert total(loss(twin, name, inputs, WEIGHTS)) == want
        assert hook.weighted_positives == count


@pytest.mark.parametrize('name', ['RetinaHead', 'FSAFHead', 'PISARetinaHead', 'PISASSDHead'])
def test_an_exception_in_a_batch_leaves_nothing_behind(name, heads):
    head, inputs = heads[name], features(name)
    with attached(head):
        want = total(loss(head, name, inputs, WEIGHTS))
        broken = batch(name, WEIGHTS)
        del broken[1].gt_instances.bboxes
        with pytest.raises(Exception, match='bboxes'):
            head.loss(tuple(inputs), broken)
        assert total(loss(head, name, inputs, WEIGHTS)) == want
