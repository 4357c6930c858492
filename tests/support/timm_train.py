"""Small generated images, and the flags of a small model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ['CLASSES', 'TINY', 'settings_of', 'write_images']

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


def settings_of(**changes: object) -> argparse.Namespace:
    """timm's settings at their defaults, with some changed."""
    from tricks_plugin.timm.flags import parse
    settings = vars(parse(TINY).args)
    return argparse.Namespace(**{**settings, **changes})
