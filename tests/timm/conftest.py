"""Generated images and settings for the trainer's tests."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from support.timm_train import TINY, write_images


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
