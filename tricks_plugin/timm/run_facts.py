"""What timm's settings tell of the run, and what is counted of its images."""

from __future__ import annotations

import argparse
import math
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.processes import world_size
from ..plan import RunFacts, TrickError
from .facts import facts, total_epochs
from .splits import find_split

__all__ = ['run_facts']

_KINDS = ('.png', '.jpg', '.jpeg')  # timm's
_MOST_FILES = 200_000  # that a plan counts in folders
_LARGEST_TAR = 4_000_000_000  # bytes; all headers of a tar are read to count it
# timm's defaults where the settings of a recipe name none.
_SCALE, _FULL = (0.08, 1.0), (1.0, 1.0)


def run_facts(args: Mapping[str, Any]) -> RunFacts:
    """Reads the facts off timm's settings, and counts images in class folders and tars.

    Args:
        args: timm's settings by name, before any trick.
    """
    view = {**args, **facts(args)}
    images, why = _images(view)
    processes = world_size('any')
    batch_size, accumulation = view.get('batch_size'), view.get('grad_accum_steps') or 1
    epochs = total_epochs(view) if isinstance(view.get('epochs'), int) else None
    updates = None
    if images is not None and batch_size and epochs is not None:
        # timm drops the last batch if it is not full; a sampler pads the share of each process.
        each = view.get('train_batches_per_epoch') or \
            math.ceil(images / processes) // batch_size
        updates = math.ceil(each / accumulation) * epochs
    size = view.get('input_size')
    loaded = any(view.get(name) for name in ('pretrained', 'pretrained_path', 'initial_checkpoint'))
    return RunFacts(
        processes=processes, batch_size=batch_size, accumulation=accumulation, epochs=epochs,
        images=images, samples=images, updates=updates,
        scale=min(size[-2:]) if size else None, train_scale=min(size[-2:]) if size else None,
        classes=view.get('num_classes'), pretrained='backbone' if loaded else None,
        augmentation=_augmentation(view), task='classification',
        unknown=(f'the number of images is not known: {why}',) if why else ())


def _augmentation(view: Mapping[str, Any]) -> tuple[str, ...]:
    """The flags after which an image is another one."""
    if view.get('no_aug'):
        return ()
    scale = tuple(view.get('scale') or _SCALE)
    return tuple(name for name, wanted in (
        ('scale', scale != _FULL), ('aa', view.get('aa')), ('reprob', view.get('reprob')),
        ('mixup', view.get('mixup')), ('cutmix', view.get('cutmix'))) if wanted)


def _images(view: Mapping[str, Any]) -> tuple[int | None, str]:
    """The training images, or why they are not known."""
    if view.get('dataset'):
        return None, f'--dataset {view["dataset"]} is read by its own library'
    folder = view.get('data_dir') or view.get('data')
    if not folder:
        return None, 'the settings name no data'
    try:
        root = find_split(argparse.Namespace(**{
            'train_split': 'train', 'val_split': 'validation', **view, 'data_dir': folder}), True)
        count = _in_folders(root) if root.is_dir() else _in_tar(root)
        return (count, '') if count else (None, f'{root} shows no image files')
    except TrickError as error:
        return None, str(error)
    except (OSError, ValueError, tarfile.TarError) as error:
        return None, ' '.join(str(error).split())


def _in_folders(root: Path) -> int:
    count = 0
    for _, _, names in os.walk(root, followlinks=True):
        count += sum(name.lower().endswith(_KINDS) for name in names)
        if count > _MOST_FILES:
            raise ValueError(f'{root} holds more than the {_MOST_FILES} files that a plan counts')
    return count


def _in_tar(path: Path) -> int:
    size = path.stat().st_size
    if size > _LARGEST_TAR:
        raise ValueError(f'{path} of {size / 1e9:.0f} GB is too large for a plan')
    with tarfile.open(path) as tar:
        return sum(one.isfile() and one.name.lower().endswith(_KINDS) for one in tar)
