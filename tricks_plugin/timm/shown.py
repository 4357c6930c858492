"""Training images of timm as the model gets them, loaded to be looked at."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from typing import Any

import numpy as np
import torch
from timm.data import ScheduledTransformDataset
from timm.data.mixup import one_hot
from torch.utils.data import IterableDataset

from ..plan.errors import TrickError
from .boundary import naming
from .build import build_run
from .census import classes_of
from .run import Run
from .samples import seed_everything
from .settings import changed, prepare

__all__ = ['Shown', 'largest', 'training_images']


@dataclasses.dataclass(frozen=True)
class Shown:
    """Some images.

    Attributes:
        images: uint8 RGB, each ``(h, w, 3)``, with the normalisation taken back.
        targets: What the loss compares with, ``(n, classes)``.
        names: Class names by number; a number where the data have no name.
        paths: Of each image; its number where its data set has no files.
    """

    images: list[np.ndarray]
    targets: np.ndarray
    names: dict[int, str]
    paths: list[str]


def largest(shown: Shown, place: int, count: int = 2) -> list[tuple[str, float]]:
    """The largest entries of an image's target that are not 0, by class name."""
    target = shown.targets[place]
    order = np.argsort(-target, kind='stable')[:count]
    return [(shown.names.get(int(one), str(one)), float(target[one])) for one in order
            if target[one] > 0]


def training_images(args: argparse.Namespace, count: int) -> Shown:
    """Images drawn by the seed, augmented, and mixed in batches of two.

    Two images are a batch here, so that the one an image is mixed with stands beside it, and each
    two have a draw of their own. An image's own augmentation draws from the seed and its number
    alone, so it is the same with and without a trick that mixes finished images.

    Args:
        args: timm's settings, after the tricks and checked.
        count: How many images.

    Raises:
        TrickError: If the data or the model cannot be used, or there are fewer images.
    """
    if args.aug_splits > 1:
        raise TrickError(f'--aug-splits makes several images of one, which browse does not show, '
                         f'got {args.aug_splits}')
    # Nothing is trained: no weights, no device; batches are made here.
    silent = changed(args, device='cpu', torchcompile=None, pretrained=False, resume='',
                     initial_checkpoint='', pretrained_path=None, workers=0, batch_size=2,
                     train_batch_sizes=None, use_multi_epochs_loader=False)
    run = build_run(*prepare(silent))
    loader = run.loader_train if run.args.no_prefetcher else run.loader_train.loader
    dataset = loader.dataset
    if isinstance(dataset, IterableDataset):
        raise TrickError('browse needs data that can be read in any order, got --dataset '
                         f'{args.dataset}')
    if count > len(dataset):
        raise TrickError(f'--samples must be <= the {len(dataset)} training images, got {count}')
    draw = np.random.default_rng([args.seed, len(dataset)])
    indices = draw.permutation(len(dataset))[:count + count % 2].tolist()
    if len(indices) % 2:  # an odd number, and all of them
        indices.append(indices[0])
    images, targets = [], []
    for number in range(0, len(indices), 2):
        two, their = _batch(run, loader, indices[number:number + 2], number // 2)
        images += list(two)
        targets.append(their)
    plain = dataset.dataset if isinstance(dataset, ScheduledTransformDataset) else dataset
    names = {number: name for name, number in classes_of(_innermost(plain)).items()}
    return Shown([_as_rgb(image, run.data_config) for image in images[:count]],
                 torch.cat(targets)[:count].numpy(), names,
                 [plain.name(index) for index in indices[:count]])


def _batch(
    run: Run, loader: Any, indices: list[int], number: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The images and dense targets, through collation, prefetcher and mixup as in training."""
    args, items = run.args, []
    scheduled = isinstance(loader.dataset, ScheduledTransformDataset)
    choice = None
    if scheduled:  # the size that the run's batch of this number has
        batches = itertools.cycle(loader.batch_sampler)
        choice = next(itertools.islice(batches, number, None))[0][1]
    for index in indices:
        seed_everything(args.seed, index)
        items.append(loader.dataset[(index, choice) if scheduled else index])
    seed_everything(args.seed, *indices)
    with naming('cannot mix the images'):
        batch = loader.collate_fn(items)
    if args.no_prefetcher:
        images, targets = batch
        if run.mixup is not None:
            images, targets = run.mixup(images.float(), targets)
    else:
        run.loader_train.loader = [batch]
        images, targets = next(iter(run.loader_train))
    if targets.ndim == 1:  # without mixup the loss smooths
        targets = one_hot(targets, args.num_classes, *_on_off(args))
    return images.float(), targets.float()


def _on_off(args: argparse.Namespace) -> tuple[float, float]:
    """The entries of a smoothed target, for the true class and the others."""
    off = args.smoothing / args.num_classes
    return 1.0 - args.smoothing + off, off


def _innermost(dataset: Any) -> Any:
    while vars(dataset).get('dataset') is not None:
        dataset = dataset.dataset
    return dataset


def _as_rgb(image: torch.Tensor, config: dict[str, Any]) -> np.ndarray:
    """A normalised image ``(channels, h, w)`` as uint8 ``(h, w, 3)``."""
    mean, std = (torch.tensor(list(config[name])).view(-1, 1, 1) for name in ('mean', 'std'))
    pixels = (image * std + mean) * 255
    pixels = pixels if len(pixels) == 3 else pixels[:1].repeat(3, 1, 1)
    return pixels.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
