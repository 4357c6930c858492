# The bag of freebies for detectors with what has come since, as a fragment for `_base_`: an average of the
# weights, a schedule that stays flat before its cosine, and a clean tail. Why the others are there, and what their
# paper found, is said in bag_of_freebies.py. What would not pay in the run at hand is held back, and
# tricks.NAME=True applies it all the same. In timm, whose cosine has no flat part, it is refused:
# bag_of_tricks is for classifiers.
#
# Left out: a cached mosaic. RTMDet lost 0.4 mAP by mosaic and mixup against a large jitter and a crop in its
# small model, and gained 3.1 in its large one (mmyolo, rtmdet_description.md); which of the two a config
# of yours is like cannot be read off it, and a mosaic needs the pipeline's scales rewritten.
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='modern',
    linear_lr=dict(),
    sync_bn=dict(),
    random_shapes=dict(),
    # The base LR for half of what follows the warm-up, then the cosine, as RTMDet (2212.07784), DEIM and
    # LightlyTrain train; no increment of its own is published. Over steps a cosine brings +1.8 mAP
    # for Faster R-CNN (1902.04103 section 4).
    cosine_warmup=dict(flat_fraction=0.5),
    no_bias_decay=dict(),
    label_smoothing=dict(eps=0.1),
    mixup=dict(alpha=1.5, off_fraction=0.1),
    # The average of the weights, whose memory fits the run and grows from its start. +0.25 for ResNet-50
    # (torchvision's blog of 2021-11-18); with a larger batch and DropBlock +2.3 mAP for PP-YOLO.
    ema=dict(ramp=True),
    # The config's own mosaic, mixing, warping and colours end with mixup, for the last tenth of the run:
    # +2.0 and +1.5 mAP for RTMDet-s and -l on COCO (mmyolo, rtmdet_description.md).
    clean_tail=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
