# Blood cells (BCCD: 364 images of 640x480, 3 classes), YOLOv3-MobileNetV2 from scratch at 192 px.
#
# The data set's folder holds train.json, val.json, test.json and images/. Say where it lies by
# BCCD_ROOT, which moves every path below:
#
#     BCCD_ROOT=DIR python <mmdet>/tools/train.py configs/bccd/yolov3_mobilenetv2_bccd.py
#
# mmengine has evaluated this file before it reads --cfg-options, so `data_root=DIR` there would
# move nothing. The three keys that do (the evaluators take the ground truth from the data sets):
#
#     --cfg-options train_dataloader.dataset.dataset.data_root=DIR \
#         val_dataloader.dataset.data_root=DIR test_dataloader.dataset.data_root=DIR
_base_ = 'mmdet::yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py'

data_root = '{{$BCCD_ROOT:data/bccd}}'
metainfo = dict(classes=('RBC', 'WBC', 'Platelets'))
input_size = (192, 192)
max_epochs = 40

# Nine clusters of the training boxes at 192 / 640: platelets 12 px, red cells 32, white cells 61.
model = dict(
    backbone=dict(init_cfg=None),
    bbox_head=dict(
        num_classes=3,
        anchor_generator=dict(
            base_sizes=[[(51, 43), (62, 55), (70, 67)],
                        [(28, 32), (33, 27), (35, 34)],
                        [(11, 10), (14, 13), (27, 24)]])))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='MinIoURandomCrop',
        min_ious=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        min_crop_size=0.5),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'instances'))
]

train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        times=1,
        dataset=dict(
            data_root=data_root,
            metainfo=metainfo,
            ann_file='train.json',
            data_prefix=dict(img='images/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=0),
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='test.json',
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline))

val_evaluator = dict(ann_file=None)
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=10)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=0.002, weight_decay=0.05))

# 205 images / 16 = 13 iterations an epoch: a warm-up of 65 iterations is 5 epochs.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=65),
    dict(type='MultiStepLR', by_epoch=True, milestones=[28, 36], gamma=0.1)
]

default_hooks = dict(
    logger=dict(interval=13),
    checkpoint=dict(interval=10, max_keep_ckpts=1, save_best='coco/bbox_mAP'))

# 1 process x 16 images
auto_scale_lr = dict(base_batch_size=16)
