# Fine-tuning a pretrained detector or backbone on a few hundred to some thousand images, as a fragment
# for `_base_`; for classifiers with timm as well, beside --pretrained:
#
#     _base_ = ['mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
#               __import__('tricks_plugin').recipe('finetune')]
#     load_from = 'the detector.pth'
#
# Frozen norms and stages stay frozen: nothing here touches them (sync_bn would). Mixup, mosaic and label
# smoothing are left out: on sets this small others saw losses (300 images: 96.7 mAP without mixup and
# 96.0 with it, darknet issue 5528; smoothing +0.5 in validation and -3.6 in the test, yolov5 pull
# request 2344), and 205 images lost 4.4 points by mixup here (three seeds). Gains are published ones,
# but for those from "here", for the settings named; what would not pay in the run at hand is held back, and tricks.NAME=True applies it.
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='finetune',
    # LR in proportion to the images per update (1706.02677), from auto_scale_lr.base_batch_size. Not a
    # gain: most pretrained configs were written for 8 GPUs, and fine-tuning uses one.
    linear_lr=dict(),
    # The backbone at a tenth of the LR (DETR, 2005.12872 section 4). AutoGluon: two rates help most on
    # small sets, with a head at 10 to 100 times the rest; no figure is published. Here, on blood cells,
    # +2.2 mAP (+0.1 to +4.4, three seeds, one of nine comparisons, not after Holm). Held back without
    # pretrained weights.
    backbone_lr=dict(lr_mult=0.1),
    # One epoch of warm-up, as Ultralytics' fine-tuning has (a tenth of a run of which it would be half or
    # more), then the cosine (1812.01187 section 5.1): over step decay +2.5 points of top-1 in 1560
    # updates of CIFAR-10 here (docs/timm.md), +1.8 mAP for Faster R-CNN on VOC (1902.04103 section 4).
    # In a detector's run that sees fewer than 12,000 images from a pretrained backbone (20,000 from random
    # weights) the LR stays flat for 0.7 first: at 4160 the recipe brought +7.4 mAP with it here (+6.4 to +8.4)
    # and -3.0 without (-5.9 to -0.2), at 6240 +4.4 (+0.2 to +8.6) and -4.4 (-8.3 to -0.5), three seeds each; at
    # 12,480, without, +3.2 (+2.0 to +4.5), five.
    cosine_warmup=dict(fitted_epochs=1.0, fitted_flat=0.7),
    # No weight decay on biases and norms (1812.01187 section 3.1): +0.5 with the decay tuned, ResNet-50
    # (torchvision's blog of 2021-11-18).
    no_bias_decay=dict(),
    # The average of the weights, whose memory fits the run and grows from its start: without a ramp an
    # average hurts early (yolov5 issue 6815). +0.25 for ResNet-50 (torchvision's blog); here, on blood
    # cells in 520 updates, +0.2 mAP (-0.3 to +0.7, three seeds).
    ema=dict(ramp=True),
    # Shapes around the config's scale. Published gains are small (YOLOv3 +0.4 mAP, 1902.04103 section 4;
    # "very small", mmyolo). Held back from detectors below 320 px (the paper's smallest) or 2000 updates
    # (a choice): at 128 px and 1120 updates they cost 5.8 points here, in 780 from a pretrained backbone 4.2,
    # three seeds each. And from classifiers, none of which is measured with it.
    random_shapes=dict(ratio_range=(0.75, 1.25)),
    # The config's own mosaic, mixing, warping and colours end for the last tenth of the run, at least an
    # epoch: +2.0 and +1.5 mAP for RTMDet-s and -l on COCO (mmyolo, rtmdet_description.md), 0 to +0.5 for
    # closing YOLOv8's mosaic (ultralytics issue 1883), losses too by its issue 21008.
    clean_tail=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
