"""Datasets and loaders from timm's flags, and errors for wrong paths and class counts."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from timm.data import AugMixDataset, create_dataset, create_loader
from timm.data.readers.class_map import load_class_map
from torch.utils.data import IterableDataset

from ..plan import TRICKS, TrickError
from .boundary import naming
from .census import check_apart, classes_of, tell
from .samples import EpochSeeded, Images
from .splits import check_names, find_split

__all__ = ['build_datasets', 'build_loaders']

_logger = logging.getLogger('tricks_plugin')


def build_datasets(args: argparse.Namespace, image_mode: str) -> tuple[Any, Any]:
    """Timm's datasets for training and validation.

    Args:
        args: timm's settings.
        image_mode: PIL's mode of the images, such as ``'RGB'``.

    Returns:
        ``(train, val)``; ``val`` is None without a validation split.

    Raises:
        TrickError: If a split is missing, holds no images or no classes, has more classes than the
            model, if the same class has different numbers in training and validation, or if an
            image is in both.
    """
    check_names(args)
    train, train_root = _build_dataset(args, image_mode, True)
    val, val_root = _build_dataset(args, image_mode, False) if args.val_split else (None, None)
    if args.rank == 0:
        tell(f'split {args.train_split}', train, train_root, args.input_key)
        if val is not None:
            tell(f'split {args.val_split}', val, val_root, args.input_key)
        else:
            _logger.info('no validation split: the training loss ranks the checkpoints')
    _check_classes(args, classes_of(train), classes_of(val))
    if val is not None and train_root is not None and val_root is not None:
        check_apart(train, val, (train_root, val_root))
    if args.data_cache:
        cache_together = TRICKS.get('data_cache').side('reader', 'cache_together')
        cache_together([train] if val is None else [train, val], args.data_cache,
                       args.data_cache_folder, args.data_cache_mb)
    if not isinstance(train, IterableDataset):
        train = EpochSeeded(train, args.seed, args.rank)
    if val is not None and not isinstance(val, IterableDataset):
        val = Images(val)
    return train, val


def _check_classes(args: argparse.Namespace, train: dict[str, int], val: dict[str, int]) -> None:
    """Both splits must number the classes alike, and the model must have room for them."""
    shifted = sorted(name for name in train.keys() & val.keys() if train[name] != val[name])
    if shifted:
        raise TrickError(
            f'--data-dir {args.data_dir}: class {shifted[0]!r} is number {train[shifted[0]]} in '
            f'training and number {val[shifted[0]]} in validation, as the class folders differ; '
            'give both the same folders, or --class-map')
    for split, found in ((args.train_split, train), (args.val_split, val)):
        largest = max(found.values(), default=-1) + 1
        if largest > args.num_classes:
            raise TrickError(f'--num-classes {args.num_classes} is less than the {largest} classes '
                             f'of {split} in {args.data_dir}')
    if args.rank != 0:
        return
    if train and len(train) < args.num_classes:
        _logger.warning('the model has %d classes, the training images only %d: give --num-classes '
                        '%d', args.num_classes, len(train), len(train))
    for one, other, what in ((train, val, 'not validated'), (val, train, 'never trained on')):
        alone = sorted(one.keys() - other.keys())
        if val and alone:
            _logger.warning('%d classes are %s, such as %r: the splits have different class '
                            'folders', len(alone), what, alone[0])


def _build_dataset(
    args: argparse.Namespace, image_mode: str, training: bool,
) -> tuple[Any, Path | None]:
    """A split's dataset, and the folder or tar it is read from."""
    split = args.train_split if training else args.val_split
    options: dict[str, Any] = {}
    if training:
        options = dict(seed=args.seed, repeats=args.epoch_repeats)
    own = args.dataset.lower() in ('', 'torch/image_folder', 'torch/folder')
    root = find_split(args, training) if own else None
    place = args.data_dir if root is None else str(root)
    by = f' by --class-map {args.class_map}' if args.class_map else ''
    with naming(f'cannot read split {split!r} of {args.dataset or place}{by}'):
        dataset = create_dataset(
            args.dataset, root=place, split=split, is_training=training,
            search_split=root is None, class_map=_class_map(args, root),
            download=args.dataset_download, batch_size=args.batch_size,
            input_img_mode=image_mode, input_key=args.input_key, target_key=args.target_key,
            num_samples=args.train_num_samples if training else args.val_num_samples,
            trust_remote_code=args.dataset_trust_remote_code, **options)
    if not args.dataset and not set(classes_of(dataset)) - {'', '.'}:
        raise TrickError(f'{root}: the images lie in no class folders, so there are no classes')
    return dataset, root


def _class_map(args: argparse.Namespace, root: Path | None) -> Any:
    """The class map's names and numbers; '' without one."""
    if not args.class_map:
        return ''
    flag = f'--class-map {args.class_map}'
    folder = Path(args.data_dir or '')
    if root is not None and not (folder / args.class_map).is_file():
        folder = root  # where timm looks
    with naming(flag):
        found = load_class_map(args.class_map, str(folder))
    wrong = [name for name, number in found.items()
             if not isinstance(number, int) or isinstance(number, bool) or number < 0]
    if not found or wrong:
        what = f'{wrong[0]!r}: {found[wrong[0]]!r}' if wrong else 'nothing'
        raise TrickError(f'{flag} must map class names to numbers from 0 on, got {what}')
    blank = [name for name in found if name == '']
    if blank:
        raise TrickError(f'{flag} must have a class name in every line, got an empty one')
    return found


def build_loaders(
    args: argparse.Namespace, train: Any, val: Any, mixup: Any, data_config: dict[str, Any],
    device: torch.device, dtype: torch.dtype,
) -> tuple[Any, Any]:
    """Timm's loaders for training and validation.

    Args:
        args: timm's settings.
        train: The training dataset.
        val: The validation dataset, or None.
        mixup: What mixes; used as the collate function where timm's prefetcher is on.
        data_config: timm's input size, mean, std, interpolation and crop.
        device: Where the prefetcher puts the batches.
        dtype: The dtype of the images there.

    Raises:
        TrickError: If the training images do not fill one batch.
    """
    common = dict(
        input_size=data_config['input_size'], mean=data_config['mean'], std=data_config['std'],
        pin_memory=args.pin_mem, img_dtype=dtype, device=device, distributed=args.distributed,
        use_prefetcher=not args.no_prefetcher)
    if args.aug_splits > 1:
        train = AugMixDataset(train, num_splits=args.aug_splits)
    loader_train = create_loader(
        train, batch_size=args.batch_size, is_training=True,
        collate_fn=mixup if mixup is not None and not args.no_prefetcher else None,
        num_workers=args.workers, worker_seeding=args.worker_seeding,
        use_multi_epochs_loader=args.use_multi_epochs_loader,
        **_augmentation(args, data_config), **_scheduled_sizes(args), **common)
    # A loader's first epoch draws a seed for its workers: from a generator of its own, so that the
    # order of the images is the same whether a training starts with an epoch or comes to it.
    getattr(loader_train, 'loader', loader_train).generator = torch.Generator()
    if not len(loader_train):
        raise TrickError(f'{len(train)} training images in {args.world_size} processes do not fill '
                         f'one batch of --batch-size {args.batch_size}')
    if val is None:
        return loader_train, None
    workers = args.workers
    if args.distributed and args.dataset.startswith(('tfds', 'wds')):
        workers = min(2, workers)  # more workers pad the validation images more
    loader_eval = create_loader(
        val, batch_size=args.validation_batch_size or args.batch_size, is_training=False,
        interpolation=data_config['interpolation'], num_workers=workers,
        crop_pct=data_config['crop_pct'], **common)
    return loader_train, loader_eval


def _augmentation(args: argparse.Namespace, data_config: dict[str, Any]) -> dict[str, Any]:
    interpolation = args.train_interpolation
    if args.no_aug or not interpolation:
        interpolation = data_config['interpolation']
    return dict(
        no_aug=args.no_aug, re_prob=args.reprob, re_mode=args.remode, re_count=args.recount,
        re_split=args.resplit, train_crop_mode=args.train_crop_mode, scale=args.scale,
        ratio=args.ratio, hflip=args.hflip, vflip=args.vflip, color_jitter=args.color_jitter,
        color_jitter_prob=args.color_jitter_prob, grayscale_prob=args.grayscale_prob,
        gaussian_blur_prob=args.gaussian_blur_prob, auto_augment=args.aa,
        num_aug_repeats=args.aug_repeats, num_aug_splits=args.aug_splits,
        interpolation=interpolation)


def _scheduled_sizes(args: argparse.Namespace) -> dict[str, Any]:
    """Timm's random training sizes; the same draw on all ranks, from seed and epoch."""
    progressive = args.train_size_schedule == 'progressive'
    return dict(
        input_size_choices=args.train_img_sizes, batch_size_choices=args.train_batch_sizes,
        batch_choice_weights=args.train_size_probs, batch_choice_seed=args.seed,
        batch_choice_schedule=args.train_size_schedule,
        batch_schedule_epochs=args.epochs if progressive else None,
        batch_schedule_spread=args.train_size_schedule_spread,
        batch_schedule_random_mix=args.train_size_random_mix,
        num_batches=args.train_batches_per_epoch)
