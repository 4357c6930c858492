"""Checks of timm's settings one by one: their type, their bounds and the words they may be."""

from __future__ import annotations

import argparse
import math
from typing import Any

from tricks_plugin.plan.errors import TrickError

from .flag_table import Flag
from .flags import FLAGS

__all__ = ['check_values']

_KINDS: dict[str, tuple[Any, str]] = {
    'int': (int, 'a whole number'),
    'float': ((int, float), 'a number'),
    'str': (str, 'a string'),
    'switch': (bool, 'True or False'),
    'kwargs': (dict, 'names and values'),
}
# A YAML may hold what timm's code takes although its command line cannot say it.
_NONE_TOO = ('scale', 'ratio', 'color_jitter')
_ONE_OR_MANY = ('lr_noise', 'color_jitter')
_UNBOUNDED = ('clip_grad',)

_ABOVE_0 = '''crop_pct std clip_grad layer_decay lr_base lr_cycle_mul lr_k_decay decay_epochs scale
    ratio bn_eps bce_pos_weight'''
_FROM_0 = '''validation_batch_size grad_accum_steps opt_eps opt_betas momentum weight_decay
    layer_decay_min_scale layer_decay_no_opt_scale lr lr_noise lr_noise_pct lr_noise_std
    lr_cycle_decay warmup_lr min_lr epoch_repeats start_epoch decay_milestones warmup_epochs
    cooldown_epochs patience_epochs decay_rate color_jitter aug_repeats aug_splits
    bce_target_thresh mixup cutmix mixup_off_epoch seed recovery_interval workers tta
    train_size_probs train_size_schedule_spread local_rank'''
_FROM_1 = '''train_num_samples val_num_samples num_classes img_size in_chans input_size batch_size
    lr_base_size lr_cycle_limit epochs recount log_interval val_interval checkpoint_hist
    train_img_sizes train_batch_sizes train_batches_per_epoch'''
_SHARES = '''hflip vflip color_jitter_prob grayscale_prob gaussian_blur_prob reprob cutmix_minmax
    mixup_prob mixup_switch_prob smoothing drop drop_connect drop_path drop_block bn_momentum
    model_ema_decay train_size_random_mix'''
_BOUNDS = (
    ('above 0', _ABOVE_0.split(), lambda value: value > 0),
    ('0 or more', _FROM_0.split(), lambda value: value >= 0),
    ('1 or more', _FROM_1.split(), lambda value: value >= 1),
    ('from 0 to 1', _SHARES.split(), lambda value: 0 <= value <= 1),
)

_FILTERS = ('nearest', 'bilinear', 'bicubic', 'box', 'hamming', 'lanczos')
_DTYPES = ('float32', 'float16', 'bfloat16')
_WORDS: dict[str, tuple[str, ...]] = {
    'sched': ('cosine', 'tanh', 'step', 'constant', 'multistep', 'plateau', 'poly', 'wsd', 'rsqrt',
              'none'),
    'amp_dtype': _DTYPES[1:],
    'model_dtype': ('', *_DTYPES),
    'clip_mode': ('norm', 'value', 'agc'),
    'lr_base_scale': ('', 'linear', 'sqrt'),
    'worker_seeding': ('all', 'part'),
    'train_crop_mode': ('', 'rrc', 'rkrc', 'rkrr'),
    'fuser': ('', 'te', 'old', 'legacy', 'nvfuser', 'nvf'),
    'remode': ('', 'const', 'rand', 'pixel'),
    'mixup_mode': ('batch', 'pair', 'elem'),
    'eval_metric': ('top1', 'top5', 'loss'),
    'interpolation': ('', *_FILTERS),
    'train_interpolation': ('', 'random', *_FILTERS),
}
_PAIRS = ('scale', 'ratio', 'cutmix_minmax')


def check_values(args: argparse.Namespace) -> None:
    """Checks every setting by itself.

    Args:
        args: timm's settings.

    Raises:
        TrickError: For a value of a wrong type, out of bounds, or that is none of the words
            known; names the flag, the rule and the value.
    """
    for name, row in FLAGS.items():
        value = getattr(args, name)
        if value is None and (row.default is None or name in _NONE_TOO):
            continue
        _check_type(name, row, value)
        words = _WORDS.get(name) or row.choices
        if words and value not in words:
            raise TrickError(f'{FLAGS[name].long} must be one of '
                             f'{", ".join(word for word in words if word)}, got {value!r}')
    for rule, names, holds in _BOUNDS:
        for name in names:
            value = getattr(args, name)
            values = value if isinstance(value, (list, tuple)) else [value]
            if any(one is not None and not holds(one) for one in values):
                raise TrickError(f'{FLAGS[name].long} must be {rule}, got {value!r}')
    _check_lists(args)


def _check_type(name: str, row: Flag, value: Any) -> None:
    """Checks the type of a value, which a YAML may give wrongly."""
    kind, words = _KINDS[row.kind]
    is_list = isinstance(value, (list, tuple))
    several = is_list if name in _ONE_OR_MANY else row.many
    if several and not is_list:
        raise TrickError(f'{row.long} must be a list, each {words}, got {value!r}')
    for one in value if several else [value]:
        if not isinstance(one, kind) or (isinstance(one, bool) and row.kind != 'switch'):
            raise TrickError(f'{row.long} must be {words}, got {value!r}')
        endless = one == math.inf and name in _UNBOUNDED
        if isinstance(one, float) and not math.isfinite(one) and not endless:
            raise TrickError(f'{row.long} must be finite, got {value!r}')


def _check_lists(args: argparse.Namespace) -> None:
    """Checks lengths and orders of lists."""
    if args.smoothing >= 1:
        raise TrickError(f'--smoothing must be below 1, got {args.smoothing!r}')
    if args.aug_splits == 1:
        raise TrickError('--aug-splits must be 0, or 2 and more, got 1')
    for name in _PAIRS:
        value = getattr(args, name)
        if value and (len(value) != 2 or value[0] > value[1]):
            raise TrickError(f'{FLAGS[name].long} must be two numbers, the smaller first, '
                             f'got {value!r}')
    if args.input_size is not None and len(args.input_size) != 3:
        raise TrickError(f'--input-size must be channels, height and width, '
                         f'got {args.input_size!r}')
    milestones = args.decay_milestones
    if any(first >= second for first, second in zip(milestones, milestones[1:], strict=False)):
        raise TrickError(f'--decay-milestones must increase, got {milestones!r}')
    channels = args.input_size[0] if args.input_size else args.in_chans or 3
    for name in ('mean', 'std'):
        value = getattr(args, name)
        if value is not None and len(value) not in (1, channels):
            raise TrickError(f'--{name} must be one number or one for each of {channels} channels, '
                             f'got {value!r}')
