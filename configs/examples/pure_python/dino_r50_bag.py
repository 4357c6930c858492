# ../dino_r50_bag.py in pure Python.
from mmengine.config import read_base

with read_base():
    from mmdet.configs.dino.dino_4scale_r50_8xb2_12e_coco import *

runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(recipe='bag_of_freebies', cosine_warmup=dict(warmup_iters=1000))
