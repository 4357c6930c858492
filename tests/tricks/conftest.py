"""What the rooms' tests share."""

from __future__ import annotations

import pytest


@pytest.fixture()
def yolov3():
    """A model section: mmdet's YOLOv3-MobileNetV2 for two classes, untrained."""
    return dict(
        type='YOLOV3', data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[90.0] * 3, std=[60.0] * 3, bgr_to_rgb=True,
            pad_size_divisor=32),
        backbone=dict(type='MobileNetV2', out_indices=(2, 4, 6), widen_factor=0.25,
                      act_cfg=dict(type='ReLU')),
        neck=dict(type='YOLOV3Neck', num_scales=3, in_channels=[80, 24, 8],
                  out_channels=[32, 32, 32]),
        bbox_head=dict(
            type='YOLOV3Head', num_classes=2, in_channels=[32, 32, 32],
            out_channels=[32, 32, 32], featmap_strides=[32, 16, 8],
            anchor_generator=dict(
                type='YOLOAnchorGenerator', strides=[32, 16, 8],
                base_sizes=[[(60, 50), (50, 80), (90, 60)], [(32, 32), (40, 30), (30, 44)],
                            [(10, 13), (16, 30), (33, 23)]]),
            bbox_coder=dict(type='YOLOBBoxCoder'),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
            loss_conf=dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum'),
            loss_xy=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=2.0,
                         reduction='sum'),
            loss_wh=dict(type='MSELoss', loss_weight=2.0, reduction='sum')),
        train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5,
                                     min_pos_iou=0)))
