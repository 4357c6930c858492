# Blood cells, YOLOv3 on EfficientNet-Lite0 with ImageNet weights, at 128 px and batch 8: the pretrained
# counterpart of yolov3_mobilenetv2-half_bccd_128px.py, for runs of several lengths. BCCD_ROOT and
# BACKBONE_WEIGHTS as in yolov3_efficientnet-lite0_bccd.py.
_base_ = './yolov3_efficientnet-lite0_bccd.py'

# The anchors of the base at 128 / 192 of their size.
model = dict(
    bbox_head=dict(
        anchor_generator=dict(
            base_sizes=[[(34, 29), (41, 37), (47, 45)],
                        [(19, 21), (22, 18), (23, 23)],
                        [(7, 7), (9, 9), (18, 16)]])))

train_pipeline = _base_.train_pipeline
train_pipeline[3] = dict(type='Resize', scale=(128, 128), keep_ratio=True)
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='Resize', scale=(128, 128), keep_ratio=True)
train_dataloader = dict(
    batch_size=8, dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

# Half of the batch, half of the LR.
optim_wrapper = dict(optimizer=dict(lr=0.001))
auto_scale_lr = dict(base_batch_size=8)

# 205 images / 8 = 26 iterations an epoch, 40 epochs are 1040 updates; for other lengths the epochs, and the
# tenths at 70 and 90 % of them.
train_cfg = dict(max_epochs=40, val_interval=20)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=130),
    dict(type='MultiStepLR', by_epoch=True, milestones=[28, 36], gamma=0.1)
]
default_hooks = dict(logger=dict(interval=26), checkpoint=dict(interval=20))
