# ../cascade-rcnn_r50_bag.py in pure Python: a trick of the recipe is dropped by False.
from mmengine.config import read_base

with read_base():
    from mmdet.configs.cascade_rcnn.cascade_rcnn_r50_fpn_1x_coco import *

runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(recipe='bag_of_freebies', mixup=False, resnet_d=dict())
