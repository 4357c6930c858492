# The baseline that the papers compare with (arXiv 1812.01187 section 2.1): LR in proportion to the
# batch, and a tenth of it at epochs 30, 60 and 90 of 120, or these shares of another length. For
# classification with timm, and as a fragment for `_base_`. In timm it also switches off what timm
# does by default (smoothing, no decay on norms, zero-gamma, warm-up), as configs/timm/baseline_step.yaml
# does for timm's own script; in a config it adds nothing else and takes nothing off.
#
#     python tools/timm_train.py DATA --model resnet50 --tricks baseline_step
runner_type = 'tricks_plugin.TricksRunner'
tricks = dict(
    from_recipe='baseline_step',
    # LR 0.1 per 256 images (section 3.1; 1706.02677).
    linear_lr=dict(),
    # 30, 60 and 90 of 120 epochs (section 2.1), a tenth each time.
    step_decay=dict(milestones=(0.25, 0.5, 0.75), gamma=0.1),
    # A run whose loss is NaN or infinite stops, in place of ending as a success. Changes nothing else.
    finite_guard=dict(),
    # Says once where the run waits for its data, why, and what would help. Changes nothing else.
    data_monitor=dict(),
)
