# bag_of_tricks with the small options for speed: for classification with timm, and as a fragment for
# `_base_`. Why each is there, and what the paper found, is said in bag_of_tricks.py.
#
#     python tools/timm_train.py DATA --model resnet50 --tricks bag_of_tricks_fast
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='bag_of_tricks_fast',
    linear_lr=dict(),
    cosine_warmup=dict(),
    zero_gamma=dict(),
    no_bias_decay=dict(),
    label_smoothing=dict(eps=0.1),
    mixup=dict(),
    random_shapes=dict(),
    amp=dict(),
    # In timm, on a GPU: pinned memory, and channels-last beside the 16 bits.
    runtime=dict(),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
