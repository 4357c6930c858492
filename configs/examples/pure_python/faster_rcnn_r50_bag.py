# ../faster-rcnn_r50_bag.py in pure Python: the recipe is named inside of `tricks`.
from mmengine.config import read_base

with read_base():
    from mmdet.configs.faster_rcnn.faster_rcnn_r50_fpn_1x_coco import *

runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(recipe='bag_of_freebies', cosine_warmup=dict(warmup_epochs=1))
