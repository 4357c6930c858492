"""Datasets and loaders from timm's flags, and errors for wrong paths and class counts."""

from __future__ import annotations

import argparse
import logging
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data import AugMixDataset, create_dataset, create_loader
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ..plan.errors import TrickError

__all__ = ['EpochSeeded', 'build_datasets', 'build_loaders', 'seed_everything', 'set_epoch']

_SPLITS = (('train', 'training'), ('val', 'valid', 'validation', 'eval', 'evaluation', 'test'))
_logger = logging.getLogger('tricks_plugin')


def seed_everything(*parts: int) -> None:
    """Seeds Python, NumPy and torch with a number that mixes the parts.

    Args:
        *parts: Such as seed, epoch, rank and worker; equal parts give equal draws.
    """
    words = [part % 2 ** 32 for part in parts]
    number = int(np.random.SeedSequence(words).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


class EpochSeeded(Dataset):
    """A dataset whose worker processes draw from (seed, epoch, rank, worker) alone.

    Persistent workers otherwise go on with the numbers of the epoch before, which a resumed
    training does not have.

    Args:
        dataset: Any dataset by index.
        seed: The run's seed.
        rank: The process's rank.
    """

    def __init__(self, dataset: Any, seed: int, rank: int) -> None:
        self.dataset = dataset
        self._seed = seed
        self._rank = rank
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._seeded = -1

    @property
    def transform(self) -> Any:
        """The transform of the dataset inside; timm's loader sets it."""
        return self.dataset.transform

    @transform.setter
    def transform(self, value: Any) -> None:
        self.dataset.transform = value

    def set_epoch(self, epoch: int) -> None:
        """Tells this process and its workers the epoch, counted from 0."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: Any) -> Any:
        worker = get_worker_info()
        if worker is not None:
            epoch = int(self._epoch.item())
            if epoch != self._seeded:
                seed_everything(self._seed, epoch, self._rank, 1 + worker.id)
                self._seeded = epoch
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def filename(self, *args: Any, **kwargs: Any) -> Any:
        """The file of a sample, as timm's datasets give it."""
        return self.dataset.filename(*args, **kwargs)


def set_epoch(loader: Any, epoch: int) -> None:
    """Tells a loader's dataset and samplers the epoch, counted from 0."""
    for part in (loader.dataset, loader.batch_sampler, loader.sampler):
        if hasattr(part, 'set_epoch'):
            part.set_epoch(epoch)


def build_datasets(args: argparse.Namespace, image_mode: str) -> tuple[Any, Any]:
    """Timm's datasets for training and validation.

    Args:
        args: timm's settings.
        image_mode: PIL's mode of the images, such as ``'RGB'``.

    Returns:
        ``(train, val)``; ``val`` is None without a validation split.

    Raises:
        TrickError: If a path is missing, holds no images or no classes, has more classes than the
            model, or if the same class has different numbers in training and validation.
    """
    train = _build_dataset(args, args.train_split, image_mode, True)
    val = _build_dataset(args, args.val_split, image_mode, False) if args.val_split else None
    classes, others = _classes(train), _classes(val)
    shifted = sorted(name for name in classes.keys() & others.keys()
                     if classes[name] != others[name])
    if shifted:
        raise TrickError(
            f'--data-dir {args.data_dir}: class {shifted[0]!r} is number {classes[shifted[0]]} in '
            f'training and number {others[shifted[0]]} in validation, as the class folders differ; '
            'give both the same folders, or --class-map')
    for split, found in ((args.train_split, classes), (args.val_split, others)):
        largest = max(found.values(), default=-1) + 1
        if largest > args.num_classes:
            raise TrickError(f'--num-classes {args.num_classes} is less than the {largest} classes '
                             f'of {split} in {args.data_dir}')
    if classes and len(classes) < args.num_classes:
        _logger.warning('the model has %d classes, the training images only %d: give --num-classes '
                        '%d', args.num_classes, len(classes), len(classes))
    if not isinstance(train, IterableDataset):
        train = EpochSeeded(train, args.seed, args.rank)
    return train, val


def _build_dataset(args: argparse.Namespace, split: str, image_mode: str, training: bool) -> Any:
    options: dict[str, Any] = {}
    if training:
        options = dict(seed=args.seed, repeats=args.epoch_repeats)
    root = _root(args, split)
    try:
        dataset = create_dataset(
            args.dataset, root=root, split=split, is_training=training, class_map=args.class_map,
            download=args.dataset_download, batch_size=args.batch_size,
            input_img_mode=image_mode, input_key=args.input_key, target_key=args.target_key,
            num_samples=args.train_num_samples if training else args.val_num_samples,
            trust_remote_code=args.dataset_trust_remote_code, **options)
    except (AssertionError, RuntimeError, OSError, ValueError, tarfile.TarError) as error:
        text = f'{type(error).__name__}: {" ".join(str(error).split())}'
        raise TrickError(
            f'cannot read split {split!r} of {args.dataset or root}: {text}') from error
    classes = _classes(dataset)
    if not args.dataset and not set(classes) - {'', '.'}:
        raise TrickError(f'{root}: the images lie in no class folders, so there are no classes')
    return dataset


def _root(args: argparse.Namespace, split: str) -> str | None:
    """Where a split's images lie: timm's rule, and ``SPLIT.tar`` in the data folder beside it."""
    if args.dataset:
        return args.data_dir
    root = Path(args.data_dir or '')
    if args.data_dir is None or not root.exists():
        raise TrickError(f'--data-dir {args.data_dir} is not there')
    name = split.split('[')[0]
    synonyms = next((group for group in _SPLITS if name in group), (name,))
    names = (name, *(other for other in synonyms if other not in (name, 'test')))
    if not root.is_dir() or any((root / other).is_dir() for other in names):
        return str(root)
    tars = (root / f'{other}.tar' for other in names)
    return str(next((tar for tar in tars if tar.is_file()), root))


def _classes(dataset: Any) -> dict[str, int]:
    """Class names to numbers, where the reader of a dataset has them."""
    reader = getattr(dataset, 'reader', None)
    found = getattr(reader, 'class_to_idx', None) or getattr(reader, 'class_name_to_idx', None)
    return dict(found) if isinstance(found, dict) else {}


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
