# Blood cells, YOLOv3 with a half-width MobileNetV2 from scratch at 128 px and batch 8: small enough that runs
# of several lengths, with several seeds each, are affordable on a CPU. The lengths in docs/results.md are
# measured with it. BCCD_ROOT as in yolov3_mobilenetv2_bccd.py.
_base_ = './yolov3_mobilenetv2_bccd.py'

# Two scales of the usual three, as for the demo's digits: the largest cell is some 45 px high after resizing. The
# anchors are six clusters of the training boxes. Stages 2 and 4 have 32 / 2 and 96 / 2 channels.
model = dict(
    backbone=dict(widen_factor=0.5, out_indices=(2, 4)),
    neck=dict(num_scales=2, in_channels=[48, 16], out_channels=[96, 64]),
    bbox_head=dict(
        in_channels=[96, 64],
        out_channels=[96, 64],
        anchor_generator=dict(
            base_sizes=[[(23, 22), (36, 31), (45, 42)],
                        [(8, 8), (21, 17), (18, 21)]],
            strides=[16, 8]),
        featmap_strides=[16, 8]))

# A plain crop in place of MinIoURandomCrop, for the reason given in yolov3_efficientnet-lite0_bccd.py.
train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(
    type='RandomCrop', crop_type='relative_range', crop_size=(0.5, 0.5))
train_pipeline[3] = dict(type='Resize', scale=(128, 128), keep_ratio=True)
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='Resize', scale=(128, 128), keep_ratio=True)
train_dataloader = dict(
    batch_size=8, dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# Half of the batch, half of the LR. 205 images / 8 = 26 iterations an epoch: the warm-up is 5 epochs here too.
optim_wrapper = dict(optimizer=dict(lr=0.001))
auto_scale_lr = dict(base_batch_size=8)

# 40 epochs are 1040 updates; for other lengths the epochs, and the tenths at 70 and 90 % of them.
train_cfg = dict(val_interval=20)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=130),
    dict(type='MultiStepLR', by_epoch=True, milestones=[28, 36], gamma=0.1)
]
default_hooks = dict(logger=dict(interval=26), checkpoint=dict(interval=20))
