# The bag of tricks for image classification (arXiv 1812.01187), for timm and for mmpretrain:
#
#     python tools/timm_train.py DATA --model resnet50 --tricks bag_of_tricks
#     python tools/train.py mmpretrain::resnet/resnet50_8xb32_in1k.py --tricks bag_of_tricks
#
# and for timm's own script as configs/timm/bag_of_tricks.yaml: the same settings, among them the
# paper's weight decay of 1e-4. What a command line or a config file sets beside it stands. In a detection config, as a fragment for `_base_`, each trick takes its form
# for detectors (mixup with alpha 1.5, shapes of the detector's own scale); bag_of_freebies is made
# for those. Gains are those of the paper's ResNet-50-D on ImageNet (top-1), each on top of the
# ones before.
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='bag_of_tricks',
    # LR 0.1 per 256 images (section 3.1; 1706.02677): timm's own rule for SGD.
    linear_lr=dict(),
    # Warm-up from 0 over 5 epochs (section 3.1; a twentieth of a run below 100 epochs), then cosine
    # per update (section 5.1): +0.75. The run keeps its length: 5 + 95 epochs for 100.
    cosine_warmup=dict(),
    # The last scale of each residual branch starts at zero (section 3.1): timm's ResNets do so.
    zero_gamma=dict(),
    # No weight decay on biases and norms (section 3.1): timm does so.
    no_bias_decay=dict(),
    # Softmax targets 1 - eps and eps / (K - 1) (section 5.2): +0.4. timm's smoothing spreads over all
    # K classes: 0.1 * 1000 / 999 for ImageNet.
    label_smoothing=dict(eps=0.1),
    # lam ~ Beta(0.2, 0.2) over the whole run (sections 5.4, 5.5): +0.8. The paper trains 200 epochs with
    # it, as it needs a run long enough to overfit.
    mixup=dict(),
    # One of 160, 192 and 224 px per batch, for a model of 224. Not of this paper: of 1902.04103
    # section 3.6. Held back from classifiers, none of which is measured with it: name it to have it.
    random_shapes=dict(),
    # 16-bit mixed precision (section 3.2): bfloat16 where the device has it.
    amp=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
# Left out: distillation, and the ResNet-D tweak, which changes the model: ask for it by resnet_d.
