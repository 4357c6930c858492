# ../mask-rcnn_r50_bag.py in pure Python: what a base sets is changed by update().
from mmengine.config import read_base

with read_base():
    from mmdet.configs.mask_rcnn.mask_rcnn_r50_fpn_1x_coco import *

runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(recipe='bag_of_freebies', mixup=dict(off_fraction=0.2))
train_cfg.update(max_epochs=36)
