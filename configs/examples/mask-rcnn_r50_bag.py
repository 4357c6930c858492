# Mask R-CNN-R50 with the bag for 36 epochs, over which the cosine stretches by itself; mixup, which
# mixes and weights masks like boxes, is off for the last fifth.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../recipes/bag_of_freebies.py',
]
train_cfg = dict(max_epochs=36)
tricks = dict(mixup=dict(off_fraction=0.2))
