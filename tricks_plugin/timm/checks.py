"""Refuses settings of timm's script that cannot train, before any data is touched."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from tricks_plugin.plan.errors import TrickError, did_you_mean

from .checks_names import check_device, check_names
from .checks_values import check_values, idle_settings
from .flag_row import COOLING, is_mixing
from .flags import FLAGS

__all__ = ['check', 'check_settings', 'run_epochs']

_WITHOUT_FOLDER = ('hfds', 'hfids', 'tfds')
_KINDS = (*_WITHOUT_FOLDER, 'torch', 'wds')


def check(args: argparse.Namespace, given: Collection[str]) -> list[str]:
    """Checks the settings of a training: one by one, together, and against what is there.

    Args:
        args: timm's settings, after the tricks; not changed.
        given: The names that the user set.

    Returns:
        Warnings, one line each, such as for settings without effect.

    Raises:
        TrickError: For a value of a wrong type or out of bounds, settings that contradict each
            other, an unknown model or optimizer, a missing device, file or folder.
    """
    warnings = check_settings(args, given)
    _check_paths(args)
    check_names(args)
    check_device(args)
    warnings += _check_processes(args)
    return warnings + idle_settings(FLAGS, args, given)


def check_settings(args: argparse.Namespace, given: Collection[str]) -> list[str]:
    """The part of `check` that looks at nothing but the settings, and needs neither torch nor timm.

    Args:
        args: timm's settings, after the tricks; not changed.
        given: The names that the user set.

    Returns:
        Warnings, one line each.

    Raises:
        TrickError: For a value of a wrong type or out of bounds, and settings that contradict
            each other.
    """
    check_values(FLAGS, args)
    _check_channels(args)
    _check_mixing(args)
    _check_splits(args)
    _check_precision(args)
    _check_sizes(args)
    return _check_length(args, given)


def _check_channels(args: argparse.Namespace) -> None:
    """Means and deviations must fit the channels."""
    channels = args.in_chans or (args.input_size[0] if args.input_size else 3)
    for name in ('mean', 'std'):
        value = getattr(args, name)
        if value is not None and len(value) not in (1, channels):
            raise TrickError(f'--{name} must be one number or one for each of {channels} channels, '
                             f'got {value!r}')


def _check_mixing(args: argparse.Namespace) -> None:
    """Mixup pairs the images of a batch, first with last."""
    if not is_mixing(args):
        return
    sizes = {'--batch-size': [args.batch_size]}
    if args.train_img_sizes is not None and args.train_batch_sizes is not None:
        sizes = {'--train-batch-sizes': args.train_batch_sizes}
    for flag, values in sizes.items():
        if any(value % 2 for value in values):
            received = values[0] if len(values) == 1 else values
            raise TrickError(f'{flag} must be even for --mixup and --cutmix, which blend the '
                             f'images of a batch in pairs, got {received!r}')
    if args.aug_splits:
        raise TrickError('--aug-splits cannot be combined with --mixup and --cutmix, '
                         f'got {args.aug_splits}')


def _check_splits(args: argparse.Namespace) -> None:
    if args.jsd_loss and args.aug_splits < 2:
        raise TrickError(f'--jsd-loss needs --aug-splits of 2 or more, got {args.aug_splits}')
    if args.split_bn and args.aug_splits < 2 and not args.resplit:
        raise TrickError(f'--split-bn needs --aug-splits of 2 or more, or --resplit, '
                         f'got {args.aug_splits}')
    if args.split_bn and args.sync_bn:
        raise TrickError('--split-bn and --sync-bn exclude each other, got both')
    splits = max(args.aug_splits, 2)
    if args.split_bn and not args.aug_splits and args.batch_size % splits:
        raise TrickError(f'--batch-size must be divisible by the {splits} splits of --split-bn, '
                         f'got {args.batch_size}')


def _check_precision(args: argparse.Namespace) -> None:
    if args.amp and args.model_dtype not in (None, '', 'float32'):
        raise TrickError(f'--model-dtype must be float32 beside --amp, got {args.model_dtype!r}')
    for flag, value in (('--sync-bn', args.sync_bn), ('--torchcompile', args.torchcompile)):
        if args.torchscript and value:
            raise TrickError(f'--torchscript and {flag} exclude each other, got both')
    if args.torchscript and args.kd_model_name is not None:
        raise TrickError('--torchscript and --kd-model-name exclude each other, got both')


def _check_sizes(args: argparse.Namespace) -> None:
    """Random training sizes: what timm's loader cannot combine them with, and their lengths."""
    sizes = args.train_img_sizes
    if sizes is None:
        return
    if args.use_multi_epochs_loader:
        raise TrickError('--use-multi-epochs-loader cannot be combined with --train-img-sizes, '
                         f'got {sizes!r}')
    if args.aug_splits:
        raise TrickError('--aug-splits cannot be combined with --train-img-sizes, '
                         f'got {args.aug_splits}')
    if _kind(args) in ('wds', 'tfds', 'hfids'):
        raise TrickError('--train-img-sizes needs data that can be read in any order, '
                         f'got --dataset {args.dataset}')
    for flag, values in (('--train-batch-sizes', args.train_batch_sizes),
                         ('--train-size-probs', args.train_size_probs)):
        if values is not None and len(values) != len(sizes):
            raise TrickError(f'{flag} must have one value for each of the {len(sizes)} '
                             f'--train-img-sizes, got {values!r}')
    if args.train_size_probs is not None and not sum(args.train_size_probs):
        raise TrickError('--train-size-probs must have a sum above 0, '
                         f'got {args.train_size_probs!r}')
    if args.train_size_schedule == 'progressive' and len(sizes) < 2:
        raise TrickError('--train-size-schedule progressive needs two or more --train-img-sizes, '
                         f'got {sizes!r}')


def _check_length(args: argparse.Namespace, given: Collection[str]) -> list[str]:
    """The schedule's parts must fit in the run; returns warnings."""
    warnings = []
    if args.sched == 'plateau' and args.sched_on_updates:
        raise TrickError('--sched plateau moves once an epoch, got --sched-on-updates')
    if (args.sched != 'none' and not args.warmup_prefix
            and args.warmup_epochs >= args.epochs):
        rule = (f'--warmup-epochs must be fewer than the {args.epochs} --epochs, or come before '
                f'them by --warmup-prefix, got {args.warmup_epochs}')
        if 'warmup_epochs' in given:
            raise TrickError(rule)
        warnings.append(f'{rule} by default: the LR does nothing but grow')
    if args.sched in ('wsd', 'rsqrt'):
        room = args.epochs - (0 if args.warmup_prefix else args.warmup_epochs)
        if args.decay_epochs > room:
            raise TrickError(f'--decay-epochs must fit in the {room} epochs of --sched '
                             f'{args.sched}, got {args.decay_epochs}')
    if args.lr_cycle_limit > 1:
        return warnings
    total = run_epochs(args)
    if is_mixing(args) and args.mixup_off_epoch >= total:
        warnings.append(f'--mixup-off-epoch {args.mixup_off_epoch} is never reached: '
                        f'the run has {total} epochs')
    if args.start_epoch is not None and args.start_epoch >= total:
        warnings.append(f'--start-epoch {args.start_epoch} leaves nothing to train: '
                        f'the run has {total} epochs')
    return warnings


def run_epochs(args: argparse.Namespace) -> int:
    """Epochs that timm trains, without cycles: the schedule, its warm-up prefix and cool-down."""
    prefix = args.warmup_epochs if args.warmup_prefix else 0
    return args.epochs + prefix + (args.cooldown_epochs if args.sched in COOLING else 0)


def _kind(args: argparse.Namespace) -> str:
    """What stands before the slash in --dataset, or ''."""
    prefix, slash, _ = args.dataset.partition('/')
    return prefix.lower() if slash else ''


def _check_paths(args: argparse.Namespace) -> None:
    """The files that must be there; for data of other kinds timm decides."""
    for flag, value in (('--resume', args.resume), ('--pretrained-path', args.pretrained_path),
                        ('--initial-checkpoint', args.initial_checkpoint),
                        ('--kd-checkpoint', args.kd_checkpoint)):
        if value and not Path(value).is_file():
            raise TrickError(f'{flag} must be a file that is there, got {value!r}')
    for path in (Path(args.output), *Path(args.output).parents):
        if path.exists():
            if not path.is_dir():
                raise TrickError(f'--output must be a folder, or one to be made, got '
                                 f'{args.output!r}, where {str(path)!r} is a file')
            break
    folder = args.data_dir or args.data
    kind = _kind(args)
    if kind and kind not in _KINDS:
        raise TrickError(f'--dataset must begin with {"/, ".join(_KINDS)}/, or hold no slash, '
                         f'got {args.dataset!r}{did_you_mean(kind, _KINDS)}')
    if not folder:
        if kind in _WITHOUT_FOLDER:
            return
        raise TrickError('--data-dir must name the folder or tar with the images, got nothing')
    if kind not in (*_WITHOUT_FOLDER, 'wds') and not args.dataset_download:
        path = Path(folder)
        if not path.exists():
            raise TrickError(f'--data-dir must be a folder or tar that is there, got {folder!r}')
        if path.is_file() and kind != 'torch' and path.suffix != '.tar':
            raise TrickError(f'--data-dir must be a folder or end in .tar, got {folder!r}')
    names = (args.class_map, str(Path(folder) / args.class_map))
    if args.class_map and not any(Path(name).is_file() for name in names):
        raise TrickError(f'--class-map must be a file that is there, got {args.class_map!r}')


def _check_processes(args: argparse.Namespace) -> list[str]:
    """What the number of processes allows; returns warnings."""
    from timm.utils import is_distributed_env
    if is_distributed_env():
        return []
    if args.aug_repeats:
        raise TrickError('--aug-repeats needs several processes, started by torchrun, '
                         f'got {args.aug_repeats:g} in one')
    return ['--sync-bn has no effect: there is one process'] if args.sync_bn else []
