# RTMDet-s with what its own recipe leaves of the bag, in 16-bit mixed precision. Its rate was chosen
# for 8 x 32 images, though its config says 16: linear_lr is told.
_base_ = [
    'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(linear_lr=dict(base_batch_size=256), amp=dict())
