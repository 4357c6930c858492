"""Warnings about timm's settings that change nothing beside the others."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import Any

from .flags import FLAGS

__all__ = ['COOLING', 'idle_settings', 'is_mixing']

_Args = argparse.Namespace
_CYCLES = ('cosine', 'tanh', 'poly')
COOLING = (*_CYCLES, 'wsd', 'rsqrt')


def is_mixing(args: _Args) -> bool:
    """Whether timm's mixup or cutmix is on."""
    return args.mixup > 0 or args.cutmix > 0 or args.cutmix_minmax is not None


def _mixes_both(args: _Args) -> bool:
    return args.mixup > 0 and (args.cutmix > 0 or args.cutmix_minmax is not None)


def _is_streamed(args: _Args) -> bool:
    return args.dataset.lower().startswith(('wds/', 'tfds/', 'hfids/'))


# Names, when they are read, and what to say when they are not.
_READ: tuple[tuple[str, Callable[[_Args], Any], str], ...] = (
    ('decay_milestones', lambda a: a.sched == 'multistep', 'only --sched multistep reads it'),
    ('decay_epochs', lambda a: a.sched in ('step', 'wsd', 'rsqrt'),
     'only --sched step, wsd and rsqrt read it'),
    ('decay_rate', lambda a: a.sched in ('step', 'multistep', 'plateau', 'poly'),
     'only --sched step, multistep, plateau and poly read it'),
    ('patience_epochs', lambda a: a.sched == 'plateau', 'only --sched plateau reads it'),
    ('lr_cycle_mul lr_cycle_decay lr_cycle_limit', lambda a: a.sched in _CYCLES,
     'only --sched cosine, tanh and poly read it'),
    ('lr_k_decay', lambda a: a.sched in ('cosine', 'poly'), 'only --sched cosine and poly read it'),
    ('cooldown_epochs', lambda a: a.sched in COOLING,
     'only --sched cosine, tanh, poly, wsd and rsqrt read it'),
    ('min_lr', lambda a: a.sched in (*COOLING, 'plateau'),
     'only --sched cosine, tanh, poly, plateau, wsd and rsqrt read it'),
    ('warmup_lr warmup_epochs sched_on_updates lr_noise', lambda a: a.sched != 'none',
     '--sched none leaves the LR alone'),
    ('warmup_lr', lambda a: a.sched == 'none' or a.warmup_epochs, 'there are no --warmup-epochs'),
    ('lr_noise_pct lr_noise_std', lambda a: a.lr_noise is not None, 'it needs --lr-noise'),
    ('lr_base lr_base_size lr_base_scale', lambda a: not a.lr, '--lr sets the LR itself'),
    ('lr', lambda a: a.lr is None or a.lr, '0 means unset: the LR comes from --lr-base'),
    ('layer_decay_min_scale layer_decay_no_opt_scale', lambda a: a.layer_decay is not None,
     'it needs --layer-decay'),
    ('clip_mode', lambda a: a.clip_grad is not None, 'it needs --clip-grad'),
    ('mixup_prob mixup_mode mixup_off_epoch', is_mixing, 'it needs --mixup or --cutmix'),
    ('mixup_switch_prob', _mixes_both, 'it needs --mixup and --cutmix'),
    ('smoothing', lambda a: not (a.smoothing and a.bce_loss and a.bce_target_thresh is not None),
     '--bce-target-thresh makes the targets 0 and 1 again'),
    ('bce_loss', lambda a: not a.jsd_loss, '--jsd-loss is the loss'),
    ('bce_sum bce_target_thresh bce_pos_weight', lambda a: a.bce_loss, 'it needs --bce-loss'),
    ('remode recount', lambda a: a.reprob, 'it needs --reprob'),
    ('scale ratio hflip vflip color_jitter aa reprob train_interpolation grayscale_prob '
     'gaussian_blur_prob train_crop_mode', lambda a: not a.no_aug, '--no-aug turns it off'),
    ('color_jitter color_jitter_prob', lambda a: not a.aa or '3a' in a.aa,
     '--aa takes its place'),
    ('drop_connect', lambda a: False, "timm's script no longer reads it; use --drop-path"),
    ('model_ema_force_cpu model_ema_decay model_ema_warmup', lambda a: a.model_ema,
     'it needs --model-ema'),
    ('amp_dtype', lambda a: a.amp, 'it needs --amp'),
    ('torchcompile_mode', lambda a: a.torchcompile, 'it needs --torchcompile'),
    ('no_resume_opt', lambda a: a.resume, 'it needs --resume'),
    ('validation_batch_size tta', lambda a: a.val_split, 'there is no --val-split'),
    ('input_key target_key', lambda a: '/' in a.dataset, 'it needs a --dataset of samples by key'),
    ('dataset_download', lambda a: '/' in a.dataset, 'class folders and tars are not downloaded'),
    ('train_num_samples val_num_samples epoch_repeats', _is_streamed,
     'only data that is streamed reads it'),
    ('wandb_project wandb_tags wandb_resume_id', lambda a: a.log_wandb, 'it needs --log-wandb'),
    ('train_batch_sizes train_size_probs train_size_schedule variable_batch_loss_scale '
     'train_batches_per_epoch', lambda a: a.train_img_sizes is not None,
     'it needs --train-img-sizes'),
    ('train_size_schedule_spread train_size_random_mix',
     lambda a: a.train_size_schedule == 'progressive',
     'it needs --train-size-schedule progressive'),
    ('img_size in_chans', lambda a: a.input_size is None, '--input-size wins'),
    ('data', lambda a: a.data_dir in (None, a.data), '--data-dir wins'),
    ('cutmix', lambda a: a.cutmix_minmax is None, '--cutmix-minmax takes the place of its alpha'),
)


def idle_settings(args: argparse.Namespace, given: Collection[str]) -> list[str]:
    """One line for each setting that the user gave, other than the default, without effect.

    Args:
        args: timm's settings.
        given: The names that the user set.
    """
    lines = []
    for names, is_read, reason in _READ:
        for name in names.split():
            row, value = FLAGS[name], getattr(args, name)
            if name in given and value != row.default and not is_read(args):
                told = row.long if row.kind == 'switch' else f'{row.long} {value}'
                lines.append(f'{told} has no effect: {reason}')
    return lines
