# Faster R-CNN-R50 with the two-stage subset of the bag: random shapes and sync_bn say in the plan why
# they stay out. One epoch of warm-up, as the config's 500 iterations are a fifteenth of one.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(cosine_warmup=dict(warmup_epochs=1))
