# DINO-R50 with the bag: a transformer with AdamW, whose rate is warmed up for 1000 iterations and then
# falls as a cosine in place of one step. Random shapes are drawn by its own pipeline.
_base_ = [
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(cosine_warmup=dict(warmup_iters=1000))
