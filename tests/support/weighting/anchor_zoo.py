"""Tiny heads of the AnchorHead family, each with the settings that mmdet's zoo gives it."""

from __future__ import annotations

import copy

import torch
from support.weighting.kit import build, samples

IN = 8
STRIDES = (8, 16)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
SQUARES = dict(type='AnchorGenerator', ratios=[1.0], scales=[3], strides=list(STRIDES))
APPROXS = dict(type='AnchorGenerator', octave_base_scale=3, scales_per_octave=3,
               ratios=[0.5, 1.0, 2.0], strides=list(STRIDES))
ANCHORS = dict(type='AnchorGenerator', octave_base_scale=3, scales_per_octave=1,
               ratios=[0.5, 1.0, 2.0], strides=list(STRIDES))
RANDOM = dict(type='RandomSampler', num=24, pos_fraction=0.5, neg_pos_ub=-1,
              add_gt_as_proposals=False)


def coder(*stds, **kwargs):
    return dict(type='DeltaXYWHBBoxCoder', target_means=[.0] * 4, target_stds=list(stds), **kwargs)


def assigner(positive=0.5, negative=0.4, lowest=0.0, kind='MaxIoUAssigner', **kwargs):
    return dict(type=kind, pos_iou_thr=positive, neg_iou_thr=negative, min_pos_iou=lowest,
                ignore_iof_thr=-1, **kwargs)


def train(assign=None, border=-1, **kwargs):
    return dict(assigner=assign or assigner(), allowed_border=border, pos_weight=-1, **kwargs)


def retina(kind='RetinaHead', **kwargs):
    return dict(dict(
        type=kind, num_classes=2, in_channels=IN, stacked_convs=1, feat_channels=8,
        anchor_generator=copy.deepcopy(ANCHORS), bbox_coder=coder(1., 1., 1., 1.), loss_cls=FOCAL,
        loss_bbox=dict(type='L1Loss', loss_weight=1.0), train_cfg=train()), **kwargs)


def ssd(kind='SSDHead', **kwargs):
    ratios = dict(type='SSDAnchorGenerator', scale_major=False, input_size=96,
                  min_sizes=[20, 36], max_sizes=[36, 60], strides=list(STRIDES),
                  ratios=[[2], [2, 3]])
    return dict(type=kind, num_classes=2, in_channels=(IN, IN), anchor_generator=ratios,
                bbox_coder=coder(0.1, 0.1, 0.2, 0.2), train_cfg=train(
                    assigner(0.5, 0.5, gt_max_assign_all=False), neg_pos_ratio=3, smoothl1_beta=1.,
                    sampler=dict(type='PseudoSampler'), **kwargs))


def guided(kind, cls=FOCAL, **kwargs):
    kwargs = kwargs if kind == 'GARPNHead' else dict(kwargs, num_classes=2)
    if kind == 'GARetinaHead':
        kwargs['stacked_convs'] = 1
    approx = assigner(0.5, 0.4, 0.4, 'ApproxMaxIoUAssigner')
    return dict(type=kind, in_channels=IN, feat_channels=8, deform_groups=1,
                approx_anchor_generator=copy.deepcopy(APPROXS),
                square_anchor_generator=copy.deepcopy(SQUARES),
                anchor_coder=coder(1., 1., 1., 1.), bbox_coder=coder(1., 1., 1., 1.),
                loss_loc=FOCAL, loss_shape=dict(type='BoundedIoULoss', beta=0.2), loss_cls=cls,
                loss_bbox=dict(type='SmoothL1Loss', beta=0.04), train_cfg=train(
                    assigner(0.5, 0.5), ga_assigner=approx, ga_sampler=RANDOM, center_ratio=0.4,
                    ignore_ratio=0.6), **kwargs)


def sabl():
    return dict(type='SABLRetinaHead', num_classes=2, in_channels=IN, stacked_convs=1,
                feat_channels=8, approx_anchor_generator=copy.deepcopy(APPROXS),
                square_anchor_generator=copy.deepcopy(SQUARES),
                bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=14, scale_factor=3.0),
                train_cfg=train(assigner(0.5, 0.4, 0.0, 'ApproxMaxIoUAssigner')))


def yolof():
    anchors = dict(type='AnchorGenerator', ratios=[1.0], scales=[1, 2, 4], strides=[16])
    return dict(type='YOLOFHead', num_classes=2, in_channels=IN, num_cls_convs=1, num_reg_convs=1,
                reg_decoded_bbox=True, anchor_generator=anchors,
                bbox_coder=coder(1., 1., 1., 1., add_ctr_clamp=True, ctr_clamp=32),
                loss_cls=FOCAL, loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
                train_cfg=train(dict(type='UniformAssigner', pos_ignore_thr=0.15,
                                     neg_ignore_thr=0.7)))


def cascade():
    iou = dict(type='IoULoss', linear=True, loss_weight=10.0)
    stage = dict(type='StageCascadeRPNHead', in_channels=IN, feat_channels=8,
                 reg_decoded_bbox=True, loss_bbox=iou, bbox_coder=coder(0.1, 0.1, 0.5, 0.5))
    return dict(type='CascadeRPNHead', num_classes=1, num_stages=2, test_cfg=dict(), stages=[
        dict(stage, anchor_generator=copy.deepcopy(SQUARES), with_cls=False, bridged_feature=True,
             adapt_cfg=dict(type='dilation', dilation=3)),
        dict(stage, anchor_generator=copy.deepcopy(SQUARES), with_cls=True, loss_cls=SIGMOID,
             adapt_cfg=dict(type='offset'))],
        train_cfg=[train(dict(type='RegionAssigner', center_ratio=0.2, ignore_ratio=0.5)),
                   train(assigner(0.6, 0.6, 0.3), sampler=RANDOM)])


def yolact(**kwargs):
    loss = dict(type='CrossEntropyLoss', use_sigmoid=False, reduction='none', loss_weight=1.0)
    return dict(dict(
        type='YOLACTHead', num_classes=2, in_channels=IN, feat_channels=8, num_protos=4,
        anchor_generator=copy.deepcopy(ANCHORS), bbox_coder=coder(0.1, 0.1, 0.2, 0.2),
        loss_cls=loss, loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.5),
        train_cfg=train(assigner(gt_max_assign_all=False), neg_pos_ratio=3,
                        sampler=dict(type='PseudoSampler'))), **kwargs)


def protonet(most=100):
    return dict(type='YOLACTProtonet', in_channels=IN, num_protos=4, num_classes=2,
                proto_channels=(8, None, 8, 4), proto_kernel_sizes=(3, -2, 3, 1),
                max_masks_to_train=most, loss_mask_weight=6.125)


PISA = dict(isr=dict(k=2., bias=0.), carl=dict(k=1., bias=0.2))
GHM = dict(loss_cls=dict(type='GHMC', bins=6, momentum=0.75, use_sigmoid=True),
           loss_bbox=dict(type='GHMR', mu=0.02, bins=4, momentum=0.7, loss_weight=10.0))
BALANCED = dict(type='BalancedL1Loss', alpha=0.5, gamma=1.5, beta=0.11)

HEADS = {
    'AnchorHead': dict(
        type='AnchorHead', num_classes=2, in_channels=IN, anchor_generator=ANCHORS,
        train_cfg=train(sampler=RANDOM)),
    'RetinaHead': retina(),
    'RetinaHead, inside anchors, softmax, balanced': retina(
        loss_cls=dict(type='CrossEntropyLoss'), loss_bbox=BALANCED, train_cfg=dict(
            train(border=4), pos_weight=2.5)),
    'RetinaHead, decoded': retina(
        reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=2.0)),
    'RetinaHead, GHM': retina(**GHM),
    'RetinaSepBNHead': retina('RetinaSepBNHead', num_ins=2, norm_cfg=dict(type='BN')),
    'RPNHead': dict(
        type='RPNHead', in_channels=IN, feat_channels=8, anchor_generator=ANCHORS,
        bbox_coder=coder(1., 1., 1., 1.), loss_cls=SIGMOID, loss_bbox=dict(type='L1Loss'),
        train_cfg=train(assigner(0.6, 0.3, 0.3, match_low_quality=True), sampler=RANDOM)),
    'SSDHead': ssd(),
    'GuidedAnchorHead': guided('GuidedAnchorHead'),
    'GARetinaHead': guided('GARetinaHead'),
    'GARPNHead': guided('GARPNHead', SIGMOID),
    'FreeAnchorRetinaHead': retina(
        'FreeAnchorRetinaHead', bbox_coder=coder(0.1, 0.1, 0.2, 0.2), pre_anchor_topk=6,
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11, loss_weight=0.75)),
    'FSAFHead': retina(
        'FSAFHead', reg_decoded_bbox=True, loss_cls=dict(FOCAL, reduction='none'),
        loss_bbox=dict(type='IoULoss', eps=1e-6, reduction='none'),
        anchor_generator=dict(ANCHORS, octave_base_scale=1, ratios=[1.0]),
        bbox_coder=dict(type='TBLRBBoxCoder', normalizer=4.0), train_cfg=train(
            dict(type='CenterRegionAssigner', pos_scale=0.2, neg_scale=0.2, min_pos_iof=0.01))),
    'PISARetinaHead': retina(
        'PISARetinaHead', loss_bbox=dict(type='SmoothL1Loss', beta=0.11), train_cfg=train(**PISA)),
    'PISASSDHead': ssd('PISASSDHead', **PISA),
    'SABLRetinaHead': sabl(),
    'YOLOFHead': yolof(),
    'CascadeRPNHead': cascade(),
    'YOLACTHead': yolact(),
    'YOLACTHead, without OHEM': yolact(use_ohem=False, loss_cls=dict(type='CrossEntropyLoss')),
}
AGNOSTIC = ('RPNHead', 'GARPNHead', 'CascadeRPNHead')


def make(name, seed=5, double=False):
    """A head of the table, spread out enough for all of its losses to have gradients."""
    head = build(copy.deepcopy(HEADS[name]), seed)
    torch.manual_seed(seed)
    for parameter in head.parameters():
        parameter.data += 0.08 * torch.randn(parameter.shape)
    return (head.double() if double else head).train()


def features(name, seed=0, double=False):
    torch.manual_seed(seed)
    strides = (16,) if name == 'YOLOFHead' else STRIDES
    maps = [torch.randn(2, IN, 64 // stride, 96 // stride) for stride in strides]
    return [item.double() for item in maps] if double else maps


def batch(name, weights=None, **kwargs):
    if name in AGNOSTIC:
        kwargs['labels'] = [[0] * len(row) for row in kwargs.get('boxes', [[0] * 3, [0]])]
    return samples(weights, **kwargs)


def loss(head, name, inputs, weights=None, **kwargs):
    """A head's losses with fixed draws; moving averages of GHM are put back."""
    torch.manual_seed(11)
    state = {key: value.clone() for key, value in head.named_buffers()}
    losses = head.loss(tuple(inputs), batch(name, weights, **kwargs))
    for key, value in head.named_buffers():
        value.copy_(state[key])
    return {key: value for key, value in losses.items() if 'loss' in key}
