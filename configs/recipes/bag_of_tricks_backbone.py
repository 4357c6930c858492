# The bag of tricks for classifiers (arXiv 1812.01187), the pieces that make sense when a detector's
# backbone trains from scratch, as a fragment for `_base_`. With a pretrained backbone zero_gamma
# says so in the plan, and the rest still holds. Gains are those of the paper's ResNet-50 on ImageNet
# (top-1), each on top of the ones before; for detectors none is published.
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='bag_of_tricks_backbone',
    # LR in proportion to the images per update (section 3.1): what makes large batches train.
    linear_lr=dict(),
    # Linear warm-up from 0 (section 3.1), then cosine per iteration (section 5.1): +0.75. The paper
    # warms up for 5 epochs; here the config's own length stays.
    cosine_warmup=dict(),
    # The last scale of each residual branch starts at zero (section 3.1). By the backbone itself
    # where it can, by a hook elsewhere; backbones without residual branches are named.
    zero_gamma=dict(),
    # No weight decay on biases and norms (section 3.1).
    no_bias_decay=dict(),
    # Statistics over all processes: from scratch a few images per process are too few (1902.04103
    # section 3.5; the classification paper has 128 per GPU and needs none).
    sync_bn=dict(),
    # Softmax targets 1 - eps and eps / (K - 1) (section 5.2): +0.4.
    label_smoothing=dict(eps=0.1),
    # 16-bit mixed precision (section 3.2): 13.3 to 4.4 minutes an epoch in the paper, with larger
    # batches; accuracy as before.
    amp=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
# Left out: mixup of classification (alpha 0.2), which has no meaning for boxes (bag_of_freebies has
# the one that does); distillation; and the ResNet-D tweak, which changes the model: ask for it by
# tricks.resnet_d.
