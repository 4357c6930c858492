# A RetinaNet on a ResNet-18 from scratch, ten classes: the smallest detector with residual branches.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'
model = dict(
    backbone=dict(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=16),
    bbox_head=dict(num_classes=10, in_channels=16, feat_channels=16, stacked_convs=1))
