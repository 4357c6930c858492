"""Tiny RoI heads and detectors of every kind, for the proofs of their weighting."""

from __future__ import annotations

import copy
import functools

import torch
from mmengine.structures import InstanceData, PixelData
from support.weighting.kit import BOXES, SHAPE, samples

C = 8  # channels everywhere
STRIDES = [4, 8]
SOFTMAX = dict(type='CrossEntropyLoss', use_sigmoid=False)
MASK_BCE = dict(type='CrossEntropyLoss', use_mask=True)
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5,
                match_low_quality=False, ignore_iof_thr=-1)
TRAIN = dict(assigner=ASSIGNER, pos_weight=-1, mask_size=8, mask_thr_binary=0.,
             sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1,
                          add_gt_as_proposals=True))


def extractor(size=4, **kwargs):
    layer = dict(type='RoIAlign', output_size=size, sampling_ratio=0)
    return dict(dict(type='SingleRoIExtractor', out_channels=C, featmap_strides=STRIDES,
                     roi_layer=layer), **kwargs)


def box_head(kind='Shared2FCBBoxHead', **kwargs):
    return dict(dict(type=kind, in_channels=C, fc_out_channels=12, roi_feat_size=4, num_classes=3,
                     loss_cls=SOFTMAX, loss_bbox=dict(type='SmoothL1Loss', beta=1.0)), **kwargs)


def mask_head(kind='FCNMaskHead', **kwargs):
    return dict(dict(type=kind, num_convs=2, roi_feat_size=4, in_channels=C, conv_out_channels=C,
                     num_classes=3, loss_mask=MASK_BCE), **kwargs)


def roi_head(kind='StandardRoIHead', box=None, mask=None, **kwargs):
    cfg = dict(type=kind, bbox_roi_extractor=extractor(), bbox_head=box or box_head())
    if mask:
        cfg.update(mask_roi_extractor=extractor(), mask_head=mask)
    return {**cfg, **kwargs}


def sabl():
    return dict(type='SABLHead', num_classes=3, cls_in_channels=C, reg_in_channels=C,
                roi_feat_size=7, cls_out_channels=12, reg_offset_out_channels=C,
                reg_cls_out_channels=C, bbox_coder=dict(
                    type='BucketingBBoxCoder', num_buckets=14, scale_factor=1.7))


def dynamic_conv(**kwargs):
    return dict(type='DynamicConv', in_channels=C, feat_channels=4, out_channels=C,
                input_feat_shape=4, **kwargs)


def dii():
    return dict(type='DIIHead', num_classes=3, num_ffn_fcs=2, num_heads=2, num_cls_fcs=1,
                num_reg_fcs=1, feedforward_channels=12, in_channels=C, dropout=0.0,
                dynamic_conv_cfg=dynamic_conv(), loss_bbox=dict(type='L1Loss', loss_weight=5.0),
                loss_iou=dict(type='GIoULoss', loss_weight=2.0),
                loss_cls=dict(type='FocalLoss', use_sigmoid=True, loss_weight=2.0),
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', clip_border=False,
                                target_stds=[0.5, 0.5, 1., 1.]))


def query_head(mask=None):
    return roi_head('SparseRoIHead', dii(), mask, num_stages=2, stage_loss_weights=[1, 0.5],
                    proposal_feature_channel=C)


DYNAMIC_MASK = mask_head('DynamicMaskHead', dynamic_conv_cfg=dynamic_conv(with_proj=False),
                         loss_mask=dict(type='DiceLoss', activate=False, loss_weight=8.0))
HUNGARIAN = dict(type='HungarianAssigner', match_costs=[
    dict(type='FocalLossCost', weight=2.0), dict(type='BBoxL1Cost', weight=5.0, box_format='xyxy'),
    dict(type='IoUCost', iou_mode='giou', weight=2.0)])
CASCADE = dict(num_stages=2, stage_loss_weights=[1, 0.5])
SEMANTIC = dict(semantic_roi_extractor=extractor(featmap_strides=[8]), semantic_head=dict(
    type='FusedSemanticHead', num_ins=2, fusion_level=1, num_convs=2, in_channels=C,
    conv_out_channels=C, num_classes=5))

BOX, MASK = 'bbox_head (Shared2FCBBoxHead)', 'mask_head (FCNMaskHead)'


def stages(*heads):
    """The names of two stages' heads, given as ('bbox_head', 'DIIHead')."""
    return [f'{name}.{stage} ({kind})' for name, kind in heads for stage in range(2)]


# Name -> (detector, RoI head, additions to train_cfg.rcnn, names of the weighted heads).
CASES = {
    'mask': ('MaskRCNN', roi_head(mask=mask_head()), {}, [BOX, MASK]),
    'double': ('FasterRCNN', roi_head('DoubleHeadRoIHead', box_head(
        'DoubleConvFCBBoxHead', num_convs=1, num_fcs=1, conv_out_channels=12),
        reg_roi_scale_factor=1.3), {}, ['bbox_head (DoubleConvFCBBoxHead)']),
    'sabl': ('FasterRCNN', roi_head(box=sabl(), bbox_roi_extractor=extractor(7)), {},
             ['bbox_head (SABLHead)']),
    'dynamic': ('FasterRCNN', roi_head('DynamicRoIHead'), dict(dynamic_rcnn=dict(
        iou_topk=5, beta_topk=2, update_iter_interval=9999, initial_iou=0.4, initial_beta=1.0)),
        [BOX]),
    'pisa': ('FasterRCNN', roi_head('PISARoIHead'), dict(
        sampler=dict(type='ScoreHLRSampler', num=32, pos_fraction=0.5, k=0.5, bias=0.),
        isr=dict(k=2, bias=0), carl=dict(k=1, bias=0.2)), [BOX]),
    'ohem': ('FasterRCNN', roi_head(), dict(
        sampler=dict(type='OHEMSampler', num=16, pos_fraction=0.5)), [BOX]),
    'grid': ('GridRCNN', roi_head(
        'GridRoIHead', box_head(with_reg=False), grid_roi_extractor=extractor(14), grid_head=dict(
            type='GridHead', grid_points=9, num_convs=1, in_channels=C, point_feat_channels=2,
            norm_cfg=dict(type='GN', num_groups=9),
            loss_grid=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=15))),
        dict(pos_radius=1, max_num_grid=12), [BOX, 'grid_head (GridHead)']),
    'scoring': ('MaskScoringRCNN', roi_head(
        'MaskScoringRoIHead', mask=mask_head(), mask_iou_head=dict(
            type='MaskIoUHead', num_convs=1, num_fcs=1, roi_feat_size=4, in_channels=C,
            conv_out_channels=C, fc_out_channels=12, num_classes=3)), {},
        [BOX, MASK, 'mask_iou_head (MaskIoUHead)']),
    'point': ('PointRend', roi_head('PointRendRoIHead', mask=mask_head(
        'CoarseMaskHead', num_convs=0, num_fcs=1, fc_out_channels=12), point_head=dict(
            type='MaskPointHead', num_fcs=1, in_channels=C, fc_channels=C, num_classes=3),
        mask_roi_extractor=dict(
            type='GenericRoIExtractor', aggregation='concat', out_channels=C, featmap_strides=[4],
            roi_layer=dict(type='SimpleRoIAlign', output_size=4))),
        dict(mask_size=2, num_points=6, oversample_ratio=3, importance_sample_ratio=0.75),
        [BOX, 'mask_head (CoarseMaskHead)', 'point_head (MaskPointHead)']),
    'cascade': ('CascadeRCNN', roi_head('CascadeRoIHead', box_head(reg_class_agnostic=True),
                                        mask_head(), **CASCADE), {},
                stages(('bbox_head', 'Shared2FCBBoxHead'), ('mask_head', 'FCNMaskHead'))),
    'htc': ('HybridTaskCascade', roi_head('HybridTaskCascadeRoIHead', box_head(
        reg_class_agnostic=True), mask_head('HTCMaskHead'), **CASCADE, **SEMANTIC), {},
        stages(('bbox_head', 'Shared2FCBBoxHead'), ('mask_head', 'HTCMaskHead'))),
    'scnet': ('SCNet', roi_head('SCNetRoIHead', box_head(
        'SCNetBBoxHead', num_shared_fcs=2, reg_class_agnostic=True), mask_head('SCNetMaskHead'),
        feat_relay_head=dict(type='FeatureRelayHead', in_channels=12, out_conv_channels=C,
                             roi_feat_size=2, scale_factor=2),
        glbctx_head=dict(type='GlobalContextHead', num_convs=2, in_channels=C, conv_out_channels=C,
                         num_classes=3), **CASCADE, **SEMANTIC), {},
        [*stages(('bbox_head', 'SCNetBBoxHead')), 'mask_head (SCNetMaskHead)']),
    'sparse': ('SparseRCNN', query_head(), dict(
        assigner=HUNGARIAN, sampler=dict(type='PseudoSampler'), pos_weight=1),
        stages(('bbox_head', 'DIIHead'))),
    'queryinst': ('QueryInst', query_head(DYNAMIC_MASK), dict(
        assigner=HUNGARIAN, sampler=dict(type='PseudoSampler'), pos_weight=1),
        stages(('bbox_head', 'DIIHead'), ('mask_head', 'DynamicMaskHead'))),
    'multi': ('CrowdDet', roi_head('MultiInstanceRoIHead', dict(
        type='MultiInstanceBBoxHead', with_refine=True, num_shared_fcs=2, in_channels=C,
        fc_out_channels=12, roi_feat_size=4, num_classes=1, reg_class_agnostic=False,
        loss_cls=dict(type='CrossEntropyLoss', reduction='none'),
        loss_bbox=dict(type='SmoothL1Loss', reduction='none'))), dict(
            assigner=dict(type='MultiInstanceAssigner', pos_iou_thr=0.3, neg_iou_thr=0.3,
                          min_pos_iou=0.3),
            sampler=dict(type='MultiInsRandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1,
                         add_gt_as_proposals=False)),
        ['bbox_head (MultiInstanceBBoxHead)']),
    'trident': ('TridentFasterRCNN', roi_head(
        'TridentRoIHead', box_head(in_channels=64), num_branch=3, test_branch_idx=1,
        bbox_roi_extractor=extractor(out_channels=64, featmap_strides=[16])), {}, [BOX]),
}


def head_config(name, **changes):
    """A RoI head's config with its training settings."""
    _, head, rcnn, _ = CASES[name]
    rcnn = {**TRAIN, **rcnn, **changes}
    train_cfg = [rcnn] * 2 if 'num_stages' in head else rcnn
    return copy.deepcopy(dict(head, train_cfg=train_cfg, test_cfg={}))


def extras(name):
    """What the heads of some cases read beside boxes and masks."""
    if name == 'multi':
        return dict(ignored_instances=InstanceData(bboxes=torch.tensor([[60., 2., 90., 20.]])))
    if name in ('htc', 'scnet'):
        return dict(gt_sem_seg=PixelData(sem_seg=(torch.arange(64 * 96) % 5).view(1, *SHAPE)))
    return {}


def features(dtype=torch.float32):
    """A small pyramid of two levels for two images."""
    torch.manual_seed(17)
    return tuple(torch.randn(2, C, SHAPE[0] // stride, SHAPE[1] // stride).to(dtype)
                 for stride in STRIDES)


def proposals(name, dtype=torch.float32):
    """Boxes around the true ones, and others, per image; with features for queries."""
    torch.manual_seed(23)
    limit = torch.tensor([SHAPE[1], SHAPE[0]] * 2)
    results = []
    for boxes in BOXES:
        near = torch.tensor(boxes).repeat(4, 1) + 5 * torch.randn(4 * len(boxes), 4)
        corner = torch.rand(24, 2) * torch.tensor([70., 40.])
        far = torch.cat([corner, corner + 4 + 20 * torch.rand(24, 2)], dim=1)
        rows = torch.minimum(torch.cat([near, far]), limit).clamp(min=0)[:24]
        item = InstanceData(bboxes=rows.to(dtype))
        if name in ('sparse', 'queryinst'):
            item.features = torch.randn(len(rows), C).to(dtype)
            item.imgs_whwh = limit.to(dtype).expand(len(rows), 4)
        results.append(item)
    return results


def detector(name):
    """A whole detector around the case's RoI head."""
    kind, head, rcnn, _ = CASES[name]
    rcnn = {**TRAIN, **rcnn}
    cfg = dict(type=kind, data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[120.] * 3, std=[60.] * 3, pad_size_divisor=32,
        pad_mask=True, pad_seg=True), backbone=dict(
            type='ResNet', depth=18, base_channels=C, num_stages=2, strides=(1, 2),
            dilations=(1, 1), out_indices=(0, 1)),
        neck=dict(type='FPN', in_channels=[C, 2 * C], out_channels=C, num_outs=2),
        rpn_head=_rpn(C, STRIDES), roi_head=head, train_cfg=dict(rpn=dict(
            assigner=dict(ASSIGNER, pos_iou_thr=0.7, neg_iou_thr=0.3, match_low_quality=True),
            sampler=dict(TRAIN['sampler'], add_gt_as_proposals=False), allowed_border=-1,
            pos_weight=-1, debug=False), rpn_proposal=dict(
                nms_pre=50, max_per_img=24, nms=dict(type='nms', iou_threshold=0.7),
                min_bbox_size=2), rcnn=[rcnn] * 2 if 'num_stages' in head else rcnn),
        test_cfg=dict(rpn=None, rcnn=dict(max_per_img=5)))
    if name in ('sparse', 'queryinst'):
        cfg['rpn_head'] = dict(type='EmbeddingRPNHead', num_proposals=12,
                               proposal_feature_channel=C)
        cfg['train_cfg'].update(rpn=None, rpn_proposal=None)
    if name == 'trident':
        cfg.update(neck=None, rpn_head=_rpn(64, [16]), backbone=dict(
            type='TridentResNet', depth=50, base_channels=4, num_branch=3, test_branch_idx=1,
            trident_dilations=(1, 2, 3), num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
            out_indices=(2,), style='caffe', norm_cfg=dict(type='BN'),
            # Upstream leaves a TridentConv uninitialised, for a checkpoint to fill.
            init_cfg=[dict(type='Kaiming', layer=['Conv2d', 'TridentConv'])]))
    return copy.deepcopy(cfg)


def _rpn(channels, strides):
    return dict(type='RPNHead', in_channels=channels, feat_channels=C, anchor_generator=dict(
        type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=strides),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss'))


def compute(head, name, weights, dtype=torch.float32, **kwargs):
    """A RoI head's losses on the same features, proposals and draws at every call."""
    torch.manual_seed(29)
    return head.loss(features(dtype), proposals(name, dtype), samples(
        weights, masks=True, extras=functools.partial(extras, name), **kwargs))
