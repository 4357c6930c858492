"""One training step with weights through the detector of every relation of ATSSHead."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.dense_heads import ATSSHead, LDHead, PAAHead
from mmengine.logging import MessageHub
from support.weighting.atss_heads import GFL, LABELS, STRIDES, Asked, head_cfg, train_cfg
from support.weighting.kit import BOXES, WEIGHTS, attached, prove, total, training_step

from tricks_plugin.tricks.mixup.weighting.families import FAMILIES, load_adapter

pytestmark = pytest.mark.slow

BACKBONE = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=3,
                strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(1, 2))
NECK = dict(type='FPN', in_channels=[16, 32], out_channels=8, num_outs=len(STRIDES))
DYHEAD = [dict(NECK, out_channels=16),
          dict(type='DyHead', in_channels=16, out_channels=16, num_blocks=1)]
# Class of the detector, head, what else its section holds.
DETECTORS = [
    ('ATSS', 'ATSSHead', {}),
    ('ATSS', 'ATSSHead', dict(neck=DYHEAD)),
    ('GFL', 'GFLHead', {}),
    ('KnowledgeDistillationSingleStageDetector', 'LDHead', dict(teacher_config=dict(model=dict(
        type='GFL', backbone=BACKBONE, neck=NECK, train_cfg=None,
        bbox_head=dict(GFL, type='GFLHead', num_classes=4, in_channels=8, feat_channels=8,
                       stacked_convs=1))))),
    ('PAA', 'PAAHead', {}),
    ('LAD', 'LADHead', dict(teacher_backbone=BACKBONE, teacher_neck=NECK,
                            teacher_bbox_head=head_cfg('LADHead'))),
    ('TOOD', 'TOODHead', dict(epoch=0)),
    ('TOOD', 'TOODHead', dict(epoch=5)),
    ('DDOD', 'DDODHead', {}),
    ('VFNet', 'VFNetHead', {}),
    ('RTMDet', 'RTMDetHead', {}),
    ('RTMDet', 'RTMDetSepBNHead', {}),
    ('RTMDet', 'RTMDetInsHead', {}),
    ('RTMDet', 'RTMDetInsSepBNHead', {}),
]


@pytest.mark.parametrize(('kind', 'head', 'more'), DETECTORS)
def test_one_step_of_the_detector_weighs_positives(kind, head, more):
    more = dict(more)
    MessageHub.get_current_instance().update_info('epoch', more.pop('epoch', 0))
    channels = 16 if 'neck' in more else 8
    masks = 'Ins' in head
    cfg = {**dict(type=kind, backbone=BACKBONE, neck=NECK, train_cfg=train_cfg(head),
                  bbox_head=head_cfg(head, in_channels=channels),
                  data_preprocessor=dict(type='DetDataPreprocessor', pad_mask=masks)), **more}
    training_step(cfg, [f'bbox_head ({head})'], labels=LABELS, masks=masks)


def test_every_member_of_the_family_takes_a_step():
    modules = ('atss', 'paa', 'rtmdet')
    members = {name for name, place in FAMILIES.items()
               if place and place.partition(':')[0] in modules}
    assert members == {head for _, head, _ in DETECTORS}


def test_heads_of_texts_are_not_weighted():
    from mmdet.models.dense_heads import ATSSVLFusionHead
    assert load_adapter(ATSSVLFusionHead) is None


class UsersHead(ATSSHead):
    """Doubles the box loss."""

    def loss_by_feat_single(self, *args, **kwargs):
        loss_cls, loss_bbox, *rest = super().loss_by_feat_single(*args, **kwargs)
        return loss_cls, 2 * loss_bbox, *rest


class UsersPAA(PAAHead):
    """Keeps all candidates."""

    def paa_reassign(self, losses, label, label_weight, bbox_weight, pos_inds, *args):
        return label, label_weight, bbox_weight, len(pos_inds)


class UsersLD(LDHead):
    """Halves the distillation."""

    def loss_by_feat(self, *args, **kwargs):
        losses = super().loss_by_feat(*args, **kwargs)
        return dict(losses, loss_ld=[0.5 * item for item in losses['loss_ld']])


@pytest.mark.parametrize(('base', 'kind'), [('ATSSHead', UsersHead), ('PAAHead', UsersPAA),
                                            ('LDHead', UsersLD)])
def test_a_user_s_subclass_is_weighted_like_its_base(base, kind):
    case = Asked(base, type=kind)
    prove([case.head], case.losses)


class UsersTargets(ATSSHead):
    """Makes its targets in a method that upstream does not have."""

    def loss_by_feat(self, cls_scores, bbox_preds, centernesses, *args, **kwargs):
        return dict(zip(('loss_cls', 'loss_bbox'), self.loss_by_feat_single(
            torch.zeros(6, 4), cls_scores[1], bbox_preds[1], centernesses[1],
            torch.zeros(6), torch.ones(6), torch.zeros(6, 4), avg_factor=1.0), strict=False))


def test_a_subclass_that_assigns_elsewhere_is_an_error_and_not_silence():
    case = Asked('ATSSHead', type=UsersTargets)
    with attached(case.head), pytest.raises(
            ValueError, match='UsersTargets must call get_targets and then loss_by_feat_single'):
        case.losses(WEIGHTS)


def test_two_images_of_the_same_boxes_differ_by_their_weights():
    case = Asked('LADHead')
    twice = dict(boxes=[BOXES[1], BOXES[1]], labels=[[3], [3]])
    with attached(case.head):
        one, other = ([total(case.losses(weights, **twice))['loss_bbox']
                       for weights in ([[0.3], [1.0]], [[1.0], [0.3]])])
        both = total(case.losses([[1.0], [1.0]], **twice))['loss_bbox']
    assert one + other == pytest.approx(1.3 * both, rel=1e-5)
    assert min(one, other) > 0.35 * both
