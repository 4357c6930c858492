# YOLOX-s has most of the bag from its authors: the plan says `present` where it does, and nothing of
# it is changed. What is left is applied; sync_bn is dropped here, for a run on one GPU.
_base_ = [
    'mmdet::yolox/yolox_s_8xb8-300e_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(sync_bn=False)
