"""The settings that decide on a training, so that a resumed one takes them from its checkpoint.

Data, places, devices, logs and what is validated stay the command line's.
"""

from __future__ import annotations

__all__ = ['EITHER', 'RESUMABLE']

_MODEL = (
    'model', 'model_kwargs', 'num_classes', 'gp', 'img_size', 'in_chans', 'input_size', 'crop_pct',
    'mean', 'std', 'interpolation', 'drop', 'drop_path', 'drop_block', 'bn_momentum', 'bn_eps',
    'sync_bn', 'split_bn')
_OPTIMIZER = (
    'opt', 'opt_eps', 'opt_betas', 'momentum', 'weight_decay', 'clip_grad', 'clip_mode',
    'layer_decay', 'layer_decay_min_scale', 'layer_decay_no_opt_scale', 'opt_kwargs')
_SCHEDULE = (
    'lr', 'lr_base', 'lr_base_size', 'lr_base_scale', 'sched', 'sched_on_updates', 'lr_noise',
    'lr_noise_pct', 'lr_noise_std', 'lr_cycle_mul', 'lr_cycle_decay', 'lr_cycle_limit',
    'lr_k_decay', 'warmup_lr', 'min_lr', 'epochs', 'epoch_repeats', 'decay_milestones',
    'decay_epochs', 'warmup_epochs', 'warmup_prefix', 'cooldown_epochs', 'patience_epochs',
    'decay_rate')
_BATCHES = (
    'batch_size', 'grad_accum_steps', 'amp', 'amp_dtype', 'model_dtype', 'seed',
    'worker_seeding', 'train_img_sizes', 'train_batch_sizes', 'train_size_probs',
    'train_size_schedule', 'train_size_schedule_spread', 'train_size_random_mix',
    'train_batches_per_epoch', 'variable_batch_loss_scale')
_AUGMENTATION = (
    'no_aug', 'train_crop_mode', 'scale', 'ratio', 'hflip', 'vflip', 'color_jitter',
    'color_jitter_prob', 'grayscale_prob', 'gaussian_blur_prob', 'aa', 'aug_repeats', 'aug_splits',
    'reprob', 'remode', 'recount', 'resplit', 'mixup', 'cutmix', 'cutmix_minmax', 'mixup_prob',
    'mixup_switch_prob', 'mixup_mode', 'mixup_off_epoch', 'train_interpolation')
_LOSS = (
    'smoothing', 'jsd_loss', 'bce_loss', 'bce_sum', 'bce_target_thresh', 'bce_pos_weight',
    'model_ema', 'model_ema_decay', 'model_ema_warmup', 'kd_model_name', 'kd_checkpoint',
    'distill_loss_weight', 'task_loss_weight', 'kd_temperature')

RESUMABLE = (*_MODEL, *_OPTIMIZER, *_SCHEDULE, *_BATCHES, *_AUGMENTATION, *_LOSS)
# Where one of these is given, none of them comes from the checkpoint.
EITHER = (('lr', 'lr_base', 'lr_base_size', 'lr_base_scale'), ('img_size', 'input_size'))
