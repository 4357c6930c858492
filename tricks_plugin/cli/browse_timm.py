"""The pictures of a timm training's images, before and after its tricks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..pictures.samples import Pictures
from ..pictures.sheet import Panel
from ..timm import checks, flags
from ..timm.plan import plan_tricks
from ..timm.settings import changed
from ..timm.shown import Shown, largest, training_images

__all__ = ['pictures']

_MOST_PX = 8  # an image pixel is drawn at most so large


def pictures(words: Sequence[str], count: int, size: int) -> Pictures:
    """Loads and enlarges.

    Args:
        words: timm's flags, ``--tricks`` among them.
        count: How many images.
        size: Long side of a picture in px, in half of which fits an image of a sheet.

    Raises:
        TrickError: If a flag, a trick or the data are wrong.
    """
    settings = flags.parse(words)
    wish = flags.trick_wish(settings)
    plain = argparse.Namespace(**vars(settings.args))
    finals: dict[str, Any] = {'before' if wish is not None else '': plain}
    if wish is not None:
        finals['after'], _, _ = plan_tricks(plain, settings.given, wish, settings.config)
    batches: dict[str, Shown] = {}
    for name, final in finals.items():
        final = changed(final, device='cpu')  # no model runs
        checks.check(final, settings.given)
        batches[name] = training_images(final, count)
    rows, record = [], []
    for place in range(count):
        rows.append([_panel(name, shown, place, size // 2) for name, shown in batches.items()])
        record.append({name or 'plain': {
            'path': shown.paths[place], 'shape': list(shown.images[place].shape[:2]),
            'target': dict(largest(shown, place, shown.targets.shape[1]))}
            for name, shown in batches.items()})
    folder, tricks = plain.data_dir or plain.data, plain.tricks
    title = f'timm {plain.model} on {folder}' + (
        f', before and after {tricks}' if wish is not None else '')
    lines = [f'{count} training images, seed {plain.seed}; below each the two largest entries of '
             'its target; two beside each other are a batch']
    if wish is not None:
        lines.append(_told(*batches.values()))
    return Pictures(title, lines, rows, {'data': str(folder), 'tricks': tricks or '',
                                         'seed': plain.seed, 'samples': record},
                    across=min(count, 4 if wish is not None else 8))


def _panel(name: str, shown: Shown, place: int, size: int) -> Panel:
    """An image, enlarged by whole pixels or shrunk, with its target."""
    from PIL import Image
    image = shown.images[place]
    h, w = image.shape[:2]
    factor = min(size / max(h, w), _MOST_PX)
    shape = (max(1, round(w * factor)), max(1, round(h * factor)))
    drawn = np.asarray(Image.fromarray(image).resize(
        shape, Image.Resampling.NEAREST if factor > 2 else Image.Resampling.BICUBIC))
    entries = ', '.join(f'{label} {value:.3f}' for label, value in largest(shown, place))
    file = shown.paths[place].replace('\\', '/').rpartition('/')[2]
    return Panel(drawn, f'{name}: {file}' if name else file, f'{entries}. {w} x {h} px')


def _told(before: Shown, after: Shown) -> str:
    """How many images and targets the tricks change."""
    images = sum(one.shape != other.shape or bool((one != other).any())
                 for one, other in zip(before.images, after.images, strict=True))
    targets = int((~np.isclose(before.targets, after.targets)).any(1).sum())
    return f'the tricks change {images} images and {targets} targets of {len(before.images)}'
