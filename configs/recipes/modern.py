# The bag of freebies for detectors with what has come since, as a fragment for `_base_`: an average of the
# weights, a schedule that stays flat before its cosine, a mosaic and a clean tail. More on the others, and
# where they depart from the paper, is in bag_of_freebies.py. What would not pay in the run at hand
# is held back, and tricks.NAME=True applies it all the same. In timm, whose cosine has no flat part, it
# goes without; bag_of_tricks is for classifiers.
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='modern',
    # LR in proportion to the images per update (1706.02677). Not a gain: it keeps a config valid.
    linear_lr=dict(),
    # BatchNorm statistics over all processes: YOLOv3 +0.6 mAP (1902.04103 section 3.5).
    sync_bn=dict(),
    # Shapes around the test scale: YOLOv3 +0.4 mAP (1902.04103 section 3.6). Held back below 320 px or 2000
    # updates, where they cost 5.8 and 4.2 points here (three seeds each).
    random_shapes=dict(),
    # The base LR for half of what follows the warm-up, then the cosine, as RTMDet (2212.07784), DEIM and
    # LightlyTrain train; no increment of its own is published. The recipe as a whole brought +3.3 mAP (+2.6 to
    # +4.1, three seeds) in 520 updates on blood cells here. Over steps a cosine brings +1.8 mAP
    # for Faster R-CNN (1902.04103 section 4).
    cosine_warmup=dict(flat_fraction=0.5),
    # No weight decay on biases and norms (1812.01187 section 3.1): +0.5 with the decay tuned, ResNet-50
    # (torchvision's blog of 2021-11-18).
    no_bias_decay=dict(),
    # YOLOv3 about +0.4 mAP (1902.04103 section 3.2). Alone on a detector not measured here.
    label_smoothing=dict(eps=0.1),
    # Four images in one, where the config has no mosaic. +4.3 mAP on 3018 ionograms in 100 epochs of YOLOv5-s
    # without other augmentation (mmyolo's docs); with mixup +2.4 for YOLOX-DarkNet53 (2107.08430 table 2), and
    # against a large jitter and a crop +3.1 for RTMDet-l and -0.4 for RTMDet-s (mmyolo,
    # rtmdet_description.md). Held back below 100 passes, 3000 updates or 1000 images, and in a small
    # detector that has a crop or the like; at 1000 images and less Ultralytics halves it: prob=0.5.
    mosaic=dict(),
    # Beta(1.5, 1.5) in detectors, Beta(0.2, 0.2) in classifiers, as in their papers: YOLOv3 +1.5 mAP on VOC
    # (1902.04103 section 3.1), -0.06 by a user (gluon-cv issue 1248). Held back in small runs beside a strong
    # augmentation.
    mixup=dict(),
    # The average of the weights, whose memory fits the run and grows from its start. +0.25 for ResNet-50
    # (torchvision's blog of 2021-11-18); with a larger batch and DropBlock +2.3 mAP for PP-YOLO.
    ema=dict(ramp=True),
    # The config's own mosaic, mixing, warping and colours end with mixup, for the last tenth of the run or by its own hook:
    # +2.0 and +1.5 mAP for RTMDet-s and -l on COCO (mmyolo, rtmdet_description.md).
    clean_tail=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
