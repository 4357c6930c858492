# The teacher of configs/demo/yolov3_digits.py for `distill`: the same detector with a backbone of twice the
# width and a wider neck. Stages 2 and 4 have 32 and 96 channels; the strides stay, so the levels fit.
_base_ = './yolov3_digits.py'

model = dict(
    backbone=dict(widen_factor=1.0),
    neck=dict(in_channels=[96, 32], out_channels=[192, 128]),
    bbox_head=dict(in_channels=[192, 128], out_channels=[192, 128]))
