# Cascade R-CNN-R50 with the bag but without mixup, and with the ResNet-D stem and shortcuts of
# arXiv 1812.01187: an architecture tweak, so the model at inference is another one.
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(mixup=False, resnet_d=dict())
