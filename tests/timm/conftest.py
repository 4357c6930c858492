"""Small generated images and a small model's flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ('ant', 'bee', 'cat')
# A ResNet of four blocks; sizes of a multiple of 32 need no padding.
TINY = ['--model', 'resnet18', '--model-kwargs', 'layers=(1,1,1,1)', 'channels=(8,8,8,16)',
        '--input-size', '3', '32', '32', '--num-classes', '3', '--device', 'cpu',
        '--workers', '0', '--batch-size', '4', '--log-interval', '1000', '--no-aug']


def write_images(folder: Path, per_class: int, classes: Sequence[str] = CLASSES) -> Path:
    """Class folders of JPEGs whose brightness tells the class."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            pixels = rng.integers(60 * number, 60 * number + 70, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f'{index:03d}.jpg')
    return folder


@pytest.fixture(scope='session')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ (24 images) and val/ (9 images) of three classes."""
    root = tmp_path_factory.mktemp('images')
    write_images(root / 'train', 8)
    write_images(root / 'val', 3)
    return root


@pytest.fixture
def settings(images: Path) -> Callable[..., argparse.Namespace]:
    """Makes timm's settings for the tiny model, as the trainer has them before it builds."""
    from tricks_plugin.timm import flags

    def make(*words: str) -> argparse.Namespace:
        args = flags.parse([str(images), *TINY, *words]).args
        args.data_dir = args.data_dir or args.data
        args.grad_accum_steps = max(1, args.grad_accum_steps)
        vars(args).update(distributed=False, world_size=1, rank=0, local_rank=0,
                          prefetcher=not args.no_prefetcher)
        return args

    return make
