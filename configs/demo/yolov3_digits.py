# Handwritten digits on coloured canvases (examples/make_digits.py), YOLOv3 with a half-width MobileNetV2
# from scratch at 128 px: what examples/demo.py trains. A plain config; the tricks come from outside.
#
# DIGITS_ROOT moves every path below. mmengine has evaluated this file before it reads --cfg-options,
# so `data_root=DIR` there would move nothing.
_base_ = 'mmdet::yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py'

data_root = '{{$DIGITS_ROOT:data/digits}}'
classes = ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
input_size = (128, 128)
max_epochs = 10

# Two scales of the usual three: the largest digit is 42 px high after resizing, and the deepest
# stages learn slowest from scratch. Stages 2 and 4 have 32 / 2 and 96 / 2 channels. The anchors are
# six clusters of the training boxes.
model = dict(
    backbone=dict(widen_factor=0.5, out_indices=(2, 4), init_cfg=None),
    neck=dict(num_scales=2, in_channels=[48, 16], out_channels=[96, 64]),
    bbox_head=dict(
        num_classes=10,
        in_channels=[96, 64],
        out_channels=[96, 64],
        anchor_generator=dict(
            base_sizes=[[(21, 28), (20, 33), (27, 35)],
                        [(11, 19), (15, 21), (17, 26)]],
            strides=[16, 8]),
        featmap_strides=[16, 8]))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor'))
]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        _delete_=True,
        type='CocoDataset',
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/val.json',
        data_prefix=dict(img='val/'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=f'{data_root}/annotations/val.json')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=5)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.003, weight_decay=0.05))

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=True, milestones=[7, 9], gamma=0.1)
]

default_hooks = dict(
    logger=dict(interval=16),
    checkpoint=dict(interval=max_epochs, max_keep_ckpts=1))

# 1 process x 8 images
auto_scale_lr = dict(base_batch_size=8)

randomness = dict(seed=0)
