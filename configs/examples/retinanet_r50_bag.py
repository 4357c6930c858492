# RetinaNet-R50 with the bag, and with an average of its weights (EMA), which is evaluated. The target
# of its focal loss is smoothed half as much as the recipe's.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(label_smoothing=dict(eps=0.05), ema=dict())
