# FCOS-R50 with the bag: no anchors, so each point's loss gets the weight of the box it learns. A
# trick without effect stops the run (strict).
_base_ = [
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(strict=True)
