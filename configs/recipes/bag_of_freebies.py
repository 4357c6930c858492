# The bag of freebies for detectors (arXiv 1902.04103), as a fragment for `_base_`:
#
#     _base_ = ['mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py', '.../bag_of_freebies.py']
#     tricks = dict(mixup=dict(alpha=1.0), sync_bn=False)
#
# A trick that a config has already, or that means nothing for it, says so in the plan and changes
# nothing: so a two-stage detector gets the paper's two-stage subset (no random shapes; no sync_bn
# where its norms are frozen). So does one that would not pay in a run of this size: it is held back,
# and tricks.NAME=True applies it all the same. Gains are those of the
# paper's YOLOv3 and Faster R-CNN ablations on VOC 2007, each on top of the ones before.
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='bag_of_freebies',
    # LR in proportion to the images per update (1706.02677; 1812.01187 section 3.1), from the
    # config's own auto_scale_lr.base_batch_size. Not a gain: it keeps a config valid at any size.
    linear_lr=dict(),
    # BatchNorm statistics over all processes (1902.04103 section 3.5): YOLOv3 +0.6 mAP. Where the
    # paper has MXNet's layer, this is torch's on GPUs and an exact one of our own on CPUs.
    sync_bn=dict(),
    # One random shape per batch, 320 to 608 px for a detector of 416 or 608 (1902.04103 section
    # 3.6): YOLOv3 +0.4 mAP. All ranks draw the same one, and the largest comes first. Where it departs
    # from the paper: half of the draws and the last tenth of the run (or from the config's own hook on) are at the test scale, and other
    # scales take 0.75 to 1.25 of it. The paper: single-stage detectors only. Held back below 320 px (the
    # paper's smallest) or 2000 updates (a choice): at 128 px and 1120 updates they cost 5.8 points
    # here, and in 780 updates from a pretrained backbone 4.2, three seeds each.
    random_shapes=dict(),
    # Linear warm-up from 0, then cosine to 0 per iteration (1902.04103 section 3.4): YOLOv3
    # about +0.4, Faster R-CNN +1.8 mAP. The warm-up keeps the config's own length, where the paper's
    # code has 2 epochs. A detector with steps of its own that has random weights and sees fewer than 20,000
    # images in all (a choice; 12,000 from a pretrained backbone) keeps its LR flat for 0.7 of the rest first: a cosine from the start cost 4.7 points at 1120
    # updates here, this one did not (+0.6, -0.5 to +1.7, three seeds; in the bag +2.9, +1.8 to +4.1, five
    # seeds), and 3.3 at 1040 on blood cells, this one +2.5 (-0.5 to +5.5), at 2080 +2.3 (+0.4 to +4.2), three
    # seeds each.
    cosine_warmup=dict(fitted_flat=0.7),
    # No weight decay on biases and norms (1812.01187 section 3.1). From the classification paper;
    # the detection paper does not list it.
    no_bias_decay=dict(),
    # Class targets (1 - eps) q + eps / K for sigmoid heads (1902.04103 section 3.2), 1 - eps and
    # eps / (K - 1) for softmax heads (1812.01187 section 5.2): YOLOv3 about +0.4 mAP.
    label_smoothing=dict(eps=0.1),
    # Geometry-preserving mixup, lam ~ Beta(1.5, 1.5) (in a classifier Beta(0.2, 0.2)), each box's loss
    # weighted by its share (1902.04103 section 3.1), off for the last tenth of a detector's run (the paper's
    # 20 of 200 epochs), or with the config's own hook: YOLOv3 +1.5 mAP. The paper's Faster R-CNN mixes evenly and drops the weights in
    # its code; here every head is weighted. On COCO the paper finds most of the gain in a mixup-trained
    # backbone. Held back beside a strong augmentation below 1000 images (where Ultralytics' guide to
    # fine-tuning has none) or 3000 updates (a choice): at 205 images it cost 4.4 points here from a pretrained
    # backbone in 520 updates (-7.5 to -1.2), and 4.8 from random weights in 2080 (-7.4 to -2.2), three seeds each.
    mixup=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
