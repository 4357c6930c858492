"""Tiny heads and detectors of the ATSS relations, and how each is asked for its losses."""

from __future__ import annotations

import torch
from mmengine.logging import MessageHub
from support.weighting.kit import SHAPE, build, samples

STRIDES = [8, 16]
CLASSES = 4
# One class per box of the batch, so that a class names its box.
LABELS = [[0, 2, 1], [3]]
ANCHORS = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1,
               strides=STRIDES)
POINTS = dict(type='MlvlPointGenerator', offset=0, strides=STRIDES)
DELTAS = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
QUALITY = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0)
SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.7)
GIOU = dict(type='GIoULoss', loss_weight=1.3)
GROUPS = dict(type='GN', num_groups=2)
RTMDET = dict(anchor_generator=POINTS, bbox_coder=dict(type='DistancePointBBoxCoder'),
              loss_cls=QUALITY, loss_bbox=GIOU)
RTMDET_SEP = dict(RTMDET, share_conv=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU'))
REGRESS = ((-1, 32), (32, 1e8))
ATSS = dict(anchor_generator=ANCHORS, bbox_coder=DELTAS, loss_cls=FOCAL, loss_bbox=GIOU,
            loss_centerness=SIGMOID, norm_cfg=GROUPS)
GFL = dict(anchor_generator=ANCHORS, loss_cls=QUALITY, loss_bbox=GIOU, norm_cfg=GROUPS,
           loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25), reg_max=7)
# Name of the case: the head's own settings.
HEADS = {
    'ATSSHead': ATSS,
    'GFLHead': GFL,
    'LDHead': dict(GFL, loss_ld=dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25,
                                     T=10)),
    'PAAHead': dict(ATSS, reg_decoded_bbox=True),
    'LADHead': dict(ATSS, reg_decoded_bbox=True),
    'TOODHead': dict(ATSS, loss_cls=dict(QUALITY, activated=True),
                     initial_loss_cls=dict(FOCAL, activated=True), stacked_convs=2),
    'DDODHead': dict(anchor_generator=ANCHORS, bbox_coder=DELTAS, loss_cls=FOCAL, loss_bbox=GIOU,
                     norm_cfg=GROUPS, loss_iou=SIGMOID),
    'VFNetHead': dict(anchor_generator=dict(ANCHORS, center_offset=0.0), loss_bbox=GIOU,
                      loss_bbox_refine=dict(GIOU, loss_weight=2.0), norm_cfg=GROUPS,
                      regress_ranges=REGRESS, strides=STRIDES),
    'RTMDetHead': dict(RTMDET, norm_cfg=GROUPS),
    'RTMDetSepBNHead': RTMDET_SEP,
    'RTMDetInsHead': dict(RTMDET, norm_cfg=GROUPS),
    'RTMDetInsSepBNHead': RTMDET_SEP,
}
MAX_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0,
               ignore_iof_thr=-1)
TOPK = dict(type='ATSSAssigner', topk=9)
ASSIGNERS = {
    'PAAHead': dict(assigner=MAX_IOU),
    'LADHead': dict(assigner=MAX_IOU),
    'TOODHead': dict(initial_epoch=4, initial_assigner=TOPK, alpha=1, beta=6,
                     assigner=dict(type='TaskAlignedAssigner', topk=13)),
    'DDODHead': dict(assigner=dict(TOPK, alpha=0.8), reg_assigner=dict(TOPK, alpha=0.5)),
}
SOFT = dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13))


def train_cfg(name):
    """A detector's training settings; some anchors reach out of the image."""
    own = SOFT if name.startswith('RTMDet') else ASSIGNERS.get(name, dict(assigner=TOPK))
    return dict(own, allowed_border=-1, pos_weight=-1, debug=False)


def head_cfg(name, **settings):
    """A head's section as a detector has it."""
    return {**dict(type=name, num_classes=CLASSES, in_channels=8, feat_channels=8,
                   stacked_convs=1), **HEADS[name], **settings}


class Asked:
    """A head with fixed features; ``losses(weights)`` asks it as its detector does.

    Args:
        name: A key of `HEADS`.
        epoch: What TOODHead reads from the message hub.
        settings: Of the head.
        options: Of ``train_cfg``.
    """

    def __init__(self, name, epoch=0, options=(), **settings):
        cfg = dict(head_cfg(name, **settings), train_cfg=dict(train_cfg(name), **dict(options)))
        self.head = build(cfg)
        self.head.train()
        self.epoch = epoch
        self.masks = 'Ins' in name
        generator = torch.Generator().manual_seed(11)
        self.feats = [torch.randn(2, 8, SHAPE[0] // s, SHAPE[1] // s, generator=generator)
                      for s in STRIDES]
        teachers = {'LDHead': dict(cfg, type='GFLHead'), 'LADHead': cfg}
        self.teacher = None
        if name in teachers:
            teachers['LDHead'].pop('loss_ld', None)
            self.teacher = build(teachers[name], seed=8)

    def losses(self, weights=None, **kwargs):
        """The head's losses of samples with these weights."""
        MessageHub.get_current_instance().update_info('epoch', self.epoch)
        if hasattr(self.head, 'cls_num_pos_samples_per_level'):
            self.head.cls_num_pos_samples_per_level = [0.0] * len(STRIDES)
        batch = samples(weights, masks=self.masks, **dict(dict(labels=LABELS), **kwargs))
        if self.teacher is None:
            return self.head.loss(self.feats, batch)
        with torch.no_grad():
            told = self.teacher(self.feats)
            if hasattr(self.teacher, 'get_label_assignment'):
                told = self.teacher.get_label_assignment(
                    *told, [item.gt_instances for item in batch],
                    [item.metainfo for item in batch])
        return self.head.loss(self.feats, told, batch)
