# ../retinanet_r50_bag.py in pure Python: a class may stand where the other style has its name.
from mmengine.config import read_base

with read_base():
    from mmdet.configs.retinanet.retinanet_r50_fpn_1x_coco import *

runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(recipe='bag_of_freebies', label_smoothing=dict(eps=0.05), ema=dict())
