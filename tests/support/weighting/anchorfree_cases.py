"""Tiny anchor-free heads and detectors for the tests of their weighting."""

from __future__ import annotations

import functools

import torch
from mmengine.logging import MessageHub
from support.weighting import kit

CHANNELS = 8
GN = dict(type='GN', num_groups=2)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.5)
DICE = dict(type='DiceLoss', use_sigmoid=True, loss_weight=3.0)
SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.7)
_BASE = dict(num_classes=3, in_channels=CHANNELS)
_POINTS = dict(**_BASE, stacked_convs=1, feat_channels=CHANNELS, strides=[8, 16])
_FCOS = dict(_POINTS, norm_cfg=GN, loss_cls=FOCAL, regress_ranges=((-1, 30), (30, 1e8)),
             center_sampling=True, loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
             loss_centerness=SIGMOID)
_MASK_FEATURES = dict(feat_channels=CHANNELS, start_level=0, end_level=1, out_channels=CHANNELS,
                      norm_cfg=GN)
_DYNAMIC = dict(num_layers=3, feat_channels=CHANNELS, size_of_interest=8, mask_out_stride=4,
                mask_feature_head=dict(_MASK_FEATURES, in_channels=CHANNELS, mask_stride=8,
                                       num_stacked_convs=1),
                loss_mask=dict(DICE, eps=5e-6))
_SOLO = dict(**_BASE, stacked_convs=1, feat_channels=CHANNELS, strides=(8, 8, 8), norm_cfg=GN,
             scale_ranges=((1, 40), (20, 60), (30, 90)), num_grids=[9, 8, 6], pos_scale=0.4,
             loss_cls=FOCAL, loss_mask=dict(DICE, activate=True))
_DECOUPLED = dict(_SOLO, loss_mask=dict(DICE, activate=False))
_CORNER = dict(_BASE, num_feat_levels=1, corner_emb_channels=1,
               loss_heatmap=dict(type='GaussianFocalLoss', alpha=2.0, gamma=4.0),
               loss_embedding=dict(type='AssociativeEmbeddingLoss', pull_weight=0.2,
                                   push_weight=0.1),
               loss_offset=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))
_SHIFT = dict(type='SmoothL1Loss', beta=1.0, loss_weight=0.05)

HEADS = {
    'FCOSHead': dict(_FCOS, type='FCOSHead'),
    'NASFCOSHead': dict(_FCOS, type='NASFCOSHead', norm_on_bbox=True, norm_cfg=GN),
    'FoveaHead': dict(_POINTS, type='FoveaHead', base_edge_list=[16, 32], loss_cls=FOCAL,
                      scale_ranges=((8, 40), (30, 128)), norm_cfg=GN, with_deform=False,
                      loss_bbox=dict(type='SmoothL1Loss', beta=0.11, loss_weight=1.2)),
    'RepPointsHead': dict(
        **_BASE, type='RepPointsHead', feat_channels=CHANNELS, point_feat_channels=CHANNELS,
        stacked_convs=1, num_points=9, gradient_mul=0.1, point_strides=[8, 16],
        point_base_scale=4, norm_cfg=GN, loss_cls=FOCAL,
        loss_bbox_init=dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.5),
        loss_bbox_refine=dict(type='SmoothL1Loss', beta=0.11, loss_weight=1.0),
        train_cfg=dict(
            init=dict(assigner=dict(type='PointAssigner', scale=4, pos_num=1), pos_weight=-1),
            refine=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4,
                                      min_pos_iou=0, ignore_iof_thr=-1), pos_weight=-1))),
    'AutoAssignHead': dict(_POINTS, type='AutoAssignHead', norm_cfg=GN, force_topk=False,
                           loss_bbox=dict(type='GIoULoss', loss_weight=5.0),
                           regress_ranges=((-1, 30), (30, 1e8))),
    'CenterNetHead': dict(_BASE, type='CenterNetHead', feat_channels=CHANNELS,
                          loss_center_heatmap=dict(type='GaussianFocalLoss', loss_weight=1.1)),
    'CenterNetUpdateHead': dict(_POINTS, type='CenterNetUpdateHead', norm_cfg=GN,
                                regress_ranges=((0, 30), (24, 1e8)), soft_weight_on_reg=True,
                                loss_bbox=dict(type='GIoULoss', loss_weight=2.0)),
    'YOLOXHead': dict(_BASE, type='YOLOXHead', feat_channels=CHANNELS, stacked_convs=1,
                      strides=(8, 16), norm_cfg=GN,
                      train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5))),
    'SOLOHead': dict(_SOLO, type='SOLOHead'),
    'DecoupledSOLOHead': dict(_DECOUPLED, type='DecoupledSOLOHead'),
    'DecoupledSOLOLightHead': dict(_DECOUPLED, type='DecoupledSOLOLightHead'),
    'SOLOV2Head': dict(_SOLO, type='SOLOV2Head', dynamic_conv_size=1,
                       mask_feature_head=dict(_MASK_FEATURES, mask_stride=4)),
    'CondInstBboxHead': dict(_FCOS, type='CondInstBboxHead', num_params=169),
    'CondInstMaskHead': dict(_DYNAMIC, type='CondInstMaskHead', max_masks_to_train=7),
    'BoxInstBboxHead': dict(_FCOS, type='BoxInstBboxHead', num_params=169),
    'BoxInstMaskHead': dict(_DYNAMIC, type='BoxInstMaskHead', topk_masks_per_img=5,
                            warmup_iters=10),
    'CornerHead': dict(_CORNER, type='CornerHead'),
    'CentripetalHead': dict(_CORNER, type='CentripetalHead', corner_emb_channels=0,
                            loss_guiding_shift=_SHIFT, loss_centripetal_shift=dict(
                                _SHIFT, loss_weight=1.0)),
}
MASKED = {name for name in HEADS if 'SOLO' in name or 'Inst' in name}
MASK_OF = {'CondInstBboxHead': 'CondInstMaskHead', 'BoxInstBboxHead': 'BoxInstMaskHead'}
DETECTORS = {
    'FCOSHead': 'FCOS', 'NASFCOSHead': 'NASFCOS', 'FoveaHead': 'FOVEA',
    'RepPointsHead': 'RepPointsDetector', 'AutoAssignHead': 'AutoAssign',
    'CenterNetHead': 'CenterNet', 'CenterNetUpdateHead': 'CenterNet', 'YOLOXHead': 'YOLOX',
    'SOLOHead': 'SOLO', 'DecoupledSOLOHead': 'SOLO', 'DecoupledSOLOLightHead': 'SOLO',
    'SOLOV2Head': 'SOLOv2', 'CondInstBboxHead': 'CondInst', 'BoxInstBboxHead': 'BoxInst',
    'CornerHead': 'CornerNet', 'CentripetalHead': 'CornerNet',
}


@functools.cache
def heads(name):
    """A case's head, with its mask head if it has one; shared by the tests."""
    names = [name, MASK_OF[name]] if name in MASK_OF else [name]
    built = [kit.build(HEADS[each]) for each in names]
    for head in built:
        if hasattr(head, 'warmup_iters'):
            MessageHub.get_current_instance().update_info('iter', 4)
        head.use_l1 = True
    return built


def data(name, weights, **kwargs):
    """Data samples for a case; with what BoxInst's preprocessor adds."""
    batch = kit.samples(weights, masks=name in MASKED, **kwargs)
    if name == 'BoxInstBboxHead':
        for sample in batch:
            torch.manual_seed(4)
            sample.gt_instances.pairwise_masks = (
                torch.rand(len(sample.gt_instances), 8, 16, 24) < 0.6).float()
    return batch


def losses(name, weights, built=None, **kwargs):
    """The loss dict of a case's head, and of its mask head, on random features."""
    head, *masks = built or heads(name)
    batch, maps = data(name, weights, **kwargs), features(name)
    result = head.loss(maps, batch)
    for mask in masks:
        torch.manual_seed(9)
        result.update(mask.loss(maps, batch, positive_infos=head.get_positive_infos()))
    return result


def strides_of(name):
    """The strides of the feature maps that a case's head is given."""
    if 'SOLO' in name:
        return (4, 8, 16)
    return (4,) if name in ('CenterNetHead', 'CornerHead', 'CentripetalHead') else (8, 16)


def features(name, images=2, shape=(64, 96), seed=1):
    """Random feature maps for a case's head."""
    torch.manual_seed(seed)
    return tuple(torch.randn(images, CHANNELS, shape[0] // stride, shape[1] // stride)
                 for stride in strides_of(name))


def detector(name):
    """The model section of a real detector around a case's head."""
    first = {4: 0, 8: 1}[strides_of(name)[0]]
    levels = range(first, first + len(strides_of(name)))
    model = dict(
        type=DETECTORS[name],
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[128.0] * 3,
                               pad_mask=True, pad_size_divisor=16),
        backbone=dict(type='ResNet', depth=18, base_channels=4, num_stages=4,
                      out_indices=tuple(levels)),
        neck=dict(type='FPN', in_channels=[4 * 2 ** level for level in levels],
                  out_channels=CHANNELS, num_outs=len(levels)))
    if 'SOLO' in name:
        return dict(model, mask_head=HEADS[name])
    if name in MASK_OF:
        model['mask_head'] = HEADS[MASK_OF[name]]
    if name == 'BoxInstBboxHead':
        model['data_preprocessor'].update(
            type='BoxInstDataPreprocessor', mask_stride=4, pairwise_size=3, pairwise_dilation=2,
            pairwise_color_thresh=0.3, bottom_pixels_removed=10)
    head = dict(HEADS[name])
    return dict(model, train_cfg=head.pop('train_cfg', None), bbox_head=head)
