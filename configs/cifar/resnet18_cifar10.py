# CIFAR-10 as class folders (train/CLASS/*.jpg and val/CLASS/*.jpg), for mmpretrain: ResNet-18 of a
# quarter of the width. A plain config; the tricks come from outside.
#
# 250 images of each class train (every 20th file), 200 are validated: ten minutes of one CPU core, where
# the plain run overfits. CIFAR_ROOT moves both folders: mmengine has evaluated this file before it reads
# --cfg-options.
_base_ = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'

data_root = '{{$CIFAR_ROOT:data/cifar10}}'
max_epochs = 60

model = dict(
    backbone=dict(stem_channels=16, base_channels=16),
    head=dict(in_channels=128))

# The files are read by OpenCV, in BGR.
data_preprocessor = dict(to_rgb=True)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        indices=list(range(0, 50000, 20)),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=250,
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root=data_root,
        data_prefix='val',
        indices=list(range(0, 10000, 5)),
        pipeline=test_pipeline))
test_dataloader = val_dataloader

# A tenth at half of the run and at three quarters, as mmpretrain's 200 epochs have it.
param_scheduler = dict(milestones=[30, 45])
train_cfg = dict(max_epochs=max_epochs, val_interval=15)
default_hooks = dict(
    logger=dict(interval=19),
    checkpoint=dict(interval=max_epochs, max_keep_ckpts=1))
randomness = dict(seed=0)
