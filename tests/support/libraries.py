"""Small configs of OpenMMLab's libraries, by type names alone: none of them need be installed."""

from __future__ import annotations

import copy

from mmengine.config import Config

SCHEDULE = dict(
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)),
    param_scheduler=dict(type='MultiStepLR', by_epoch=True, milestones=[30, 60, 90], gamma=0.1),
    train_cfg=dict(by_epoch=True, max_epochs=100, val_interval=1), val_cfg=None, test_cfg=None,
    auto_scale_lr=dict(base_batch_size=256))


def loader(kind, last, steps=(), **more):
    """A training loader whose pipeline loads an image and ends in a packing."""
    return dict(batch_size=32, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type=kind, data_root='nowhere', pipeline=[
                    dict(type='LoadImageFromFile'), *steps, dict(type=last)]), **more)


def config(scope, model, train_dataloader, **more):
    """A whole Config."""
    return Config(copy.deepcopy(dict(SCHEDULE, default_scope=scope, model=model,
                                     train_dataloader=train_dataloader, **more)))


def hide(monkeypatch, library):
    """Lets no class of a library be found until the test ends, as where it is not installed."""
    from tricks_plugin.mm import classes
    search = classes._scoped_registries
    monkeypatch.setattr(classes, '_found', {})
    monkeypatch.setattr(classes, '_scoped_registries', lambda scopes: search(
        tuple(scope for scope in scopes if scope != library)))


def classifier(head=None, backbone=None, size=224, preprocessor=None, **more):
    """mmpretrain's ResNet-50, as resnet50_8xb32_in1k has it."""
    model = dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=50, num_stages=4, out_indices=(3,), style='pytorch',
                      **(backbone or {})),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(dict(type='LinearClsHead', num_classes=1000, in_channels=2048,
                       loss=dict(type='CrossEntropyLoss', loss_weight=1.0)), **(head or {})))
    model.update(more.pop('model', {}))
    return config(
        'mmpretrain', model,
        loader('ImageNet', 'PackInputs', [dict(type='RandomResizedCrop', scale=size)]),
        data_preprocessor=preprocessor or dict(
            num_classes=1000, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
            to_rgb=True), **more)


def segmentor():
    """mmseg's PSPNet."""
    norm = dict(type='SyncBN', requires_grad=True)
    return config('mmseg', dict(
        type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', pad_val=0),
        backbone=dict(type='ResNetV1c', depth=50, norm_cfg=norm),
        decode_head=dict(type='PSPHead', num_classes=19, norm_cfg=norm,
                         loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False))),
        loader('CityscapesDataset', 'PackSegInputs'))


def pose():
    """mmpose's heat maps."""
    return config('mmpose', dict(
        type='TopdownPoseEstimator', data_preprocessor=dict(type='PoseDataPreprocessor'),
        backbone=dict(type='ResNet', depth=50),
        head=dict(type='HeatmapHead', in_channels=2048, out_channels=17,
                  loss=dict(type='KeypointMSELoss', use_target_weight=True))),
        loader('CocoDataset', 'PackPoseInputs'))


def video(head=None, preprocessor=None):
    """mmaction's TSN."""
    return config('mmaction', dict(
        type='Recognizer2D', backbone=dict(type='ResNet', depth=50),
        data_preprocessor=dict(type='ActionDataPreprocessor', **(preprocessor or {})),
        cls_head=dict(type='TSNHead', num_classes=400, in_channels=2048, **(head or {}))),
        loader('VideoDataset', 'PackActionInputs'))


def yolo(**more):
    """mmyolo's YOLOv5, whose learning rate is in the hands of its own hook."""
    return config('mmyolo', dict(
        type='YOLODetector', data_preprocessor=dict(type='YOLOv5DetDataPreprocessor'),
        backbone=dict(type='YOLOv5CSPDarknet', norm_cfg=dict(type='BN')),
        bbox_head=dict(type='YOLOv5Head', loss_cls=dict(type='mmdet.CrossEntropyLoss',
                                                        use_sigmoid=True))),
        loader('YOLOv5CocoDataset', 'mmdet.PackDetInputs',
               [dict(type='LoadAnnotations', with_bbox=True)], **more),
        default_hooks=dict(param_scheduler=dict(type='YOLOv5ParamSchedulerHook',
                                                scheduler_type='linear', lr_factor=0.01,
                                                max_epochs=100)))


def rotated():
    """mmrotate's RetinaNet."""
    return config('mmrotate', dict(
        type='mmdet.RetinaNet', data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),
        backbone=dict(type='mmdet.ResNet', depth=50),
        bbox_head=dict(type='RotatedRetinaHead', num_classes=15,
                       loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True))),
        loader('DOTADataset', 'mmdet.PackDetInputs',
               [dict(type='mmdet.LoadAnnotations', with_bbox=True)]))


def contrastive():
    """mmpretrain's MoCo, which knows no classes."""
    return config('mmpretrain', dict(
        type='MoCo', backbone=dict(type='ResNet', depth=50, norm_cfg=dict(type='BN')),
        head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'))),
        loader('ImageNet', 'PackInputs'),
        data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[0.0], std=[1.0]))


LIBRARIES = {'mmpretrain': classifier, 'mmpretrain_moco': contrastive, 'mmseg': segmentor,
             'mmpose': pose, 'mmaction': video, 'mmyolo': yolo, 'mmrotate': rotated}
