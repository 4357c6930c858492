# ../rtmdet_s_bag.py in pure Python.
from mmengine.config import read_base

with read_base():
    from mmdet.configs.rtmdet.rtmdet_s_8xb32_300e_coco import *

runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(recipe='bag_of_freebies', linear_lr=dict(base_batch_size=256), amp=dict())
