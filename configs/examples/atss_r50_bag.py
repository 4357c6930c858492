# ATSS-R50 with the bag and 4 images a process: on one GPU linear_lr makes the rate a quarter of what
# 8 GPUs with 2 images have.
_base_ = [
    'mmdet::atss/atss_r50_fpn_1x_coco.py',
    '../recipes/bag_of_freebies.py',
]
train_dataloader = dict(batch_size=4)
