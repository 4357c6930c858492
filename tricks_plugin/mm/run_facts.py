"""What a config tells of its run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ..common.processes import world_size
from ..plan.run_facts import RunFacts
from .canvas import find_canvas
from .config_edit import (
    RunLength,
    default_scope,
    get,
    optim_wrappers,
    run_length,
    train_pipelines,
    type_name,
    walk,
)
from .image_count import ImageCount, count_images, epoch_iterations
from .pretrained import weights

__all__ = ['STRONG', 'augmentation', 'epoch_length', 'filters_images', 'loader_batches',
           'run_facts', 'tested_short']

# Steps after which an image is another one: parts of it, of several, or out of shape. Flips,
# colours and scales are not among them.
STRONG = ('RandomCrop', 'MinIoURandomCrop', 'RandomCenterCropPad', 'RandomResizedCrop', 'Mosaic',
          'CachedMosaic', 'MixUp', 'CachedMixUp', 'CopyPaste', 'RandomAffine', 'RandomErasing',
          'CutOut', 'AutoAugment', 'RandAugment', 'Mixup', 'CutMix', 'Expand', 'Mosaic9',
          'YOLOv5RandomAffine', 'YOLOv5MixUp', 'YOLOXMixUp', 'YOLOv5CopyPaste', 'MosaicToScale')
_TASKS = {'mmdet': 'detection', 'mmyolo': 'detection', 'mmrotate': 'detection',
          'mmpretrain': 'classification', 'mmcls': 'classification'}
_RESIZES = ('Resize', 'RandomResize', 'RandomChoiceResize', 'FixScaleResize', 'ResizeShortestEdge',
            'YOLOv5KeepRatioResize', 'LetterResize', 'ResizeEdge', 'RandomResizedCrop')
_CROPS = ('CenterCrop', 'EfficientNetCenterCrop')


def run_facts(cfg: dict[str, Any]) -> RunFacts:
    """Reads the facts off a plain config, and counts the images in its annotation files.

    Args:
        cfg: The config before any trick.
    """
    length = run_length(cfg)
    scope, path = default_scope(cfg), 'train_dataloader.dataset'
    counts = {wrapper.get('accumulative_counts', 1) for _, wrapper in optim_wrappers(cfg)}
    accumulation = _count(counts.pop()) if len(counts) == 1 else None
    found = ImageCount() if get(cfg, path) is None else count_images(get(cfg, path), path, scope)
    processes = world_size(cfg.get('launcher'))
    pipelines = [pipeline.steps for pipeline in train_pipelines(cfg)]
    tests = _test_pipelines(cfg)
    return RunFacts(
        processes=processes,
        batch_size=_count(get(cfg, 'train_dataloader.batch_size')),
        accumulation=accumulation,
        epochs=length.value if length is not None and length.by_epoch else None,
        iterations=length.value if length is not None and not length.by_epoch else None,
        images=found.images, images_at_most=found.listed, samples=found.samples,
        updates=_updates(cfg, found.samples, processes, accumulation),
        updates_at_most=_bound(cfg, found, processes, accumulation),
        scale=tested_short(cfg),
        fitted=_fitted(tests), train_scale=_largest_short(pipelines), classes=_classes(cfg),
        pretrained=_pretrained(cfg), frozen_stages=_frozen(cfg),
        augmentation=augmentation(cfg),
        task=_TASKS.get(scope), unknown=_unknown(cfg, found, length))


def augmentation(cfg: dict[str, Any]) -> tuple[str, ...]:
    """The strong steps of the training pipelines, by class name."""
    pipelines = [pipeline.steps for pipeline in train_pipelines(cfg)]
    return tuple(dict.fromkeys(
        type_name(step) for _, step in walk(pipelines) if type_name(step) in STRONG))


def _unknown(cfg: dict[str, Any], found: ImageCount, length: RunLength | None) -> tuple[str, ...]:
    what = 'the number of images' if found.images is None else 'the length of an epoch'
    strange = _strange_sampler(get(cfg, 'train_dataloader'))
    whys = [f'{what} is not known: {found.why}'] if found.why else []
    if strange and length is not None and length.by_epoch and found.samples is not None:
        whys.append(f'the length of an epoch is not known: {strange}')
    return tuple(whys)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _updates(
    cfg: dict[str, Any], samples: int | None, processes: int, accumulation: int | None,
) -> int | None:
    """Optimizer steps of the run; mmengine makes one at the very end of an unfull accumulation."""
    length, loader = run_length(cfg), get(cfg, 'train_dataloader') or {}
    if length is None or accumulation is None:
        return None
    if not length.by_epoch:
        return math.ceil(length.value / accumulation)
    batch_size = _count(get(loader, 'batch_size'))
    if samples is None or batch_size is None or _strange_sampler(loader):
        return None
    each = loader_batches(loader, samples, batch_size, processes)
    return math.ceil(each * length.value / accumulation)


def _bound(cfg: dict[str, Any], found: ImageCount, processes: int, accumulation: int | None,
           ) -> int | None:
    """The most optimizer steps, where which images are left out is all that is not known."""
    known = _updates(cfg, found.samples, processes, accumulation)
    return _updates(cfg, found.at_most, processes, accumulation) if known is None else None


def _strange_sampler(loader: Any) -> str:
    """Why the samples of an epoch do not follow from the data set, or an empty string."""
    sampler = type_name(get(loader, 'sampler') or 'DefaultSampler')
    return '' if sampler in ('DefaultSampler', 'InfiniteSampler') else \
        f'how many samples {sampler} draws in an epoch is not known'


def epoch_length(cfg: dict[str, Any]) -> tuple[int | None, str]:
    """The iterations of an epoch, as an iteration-based run counts them, by the annotation files.

    Images that the data set leaves out are counted too where `filters_images` says so.

    Returns:
        ``(iterations, why)``, of which one is given.
    """
    path, loader = 'train_dataloader.dataset', get(cfg, 'train_dataloader')
    batch_size = _count(get(loader, 'batch_size'))
    if batch_size is None:
        return None, 'train_dataloader names no batch_size'
    if strange := _strange_sampler(loader):
        return None, strange
    found = count_images(get(cfg, path), path, default_scope(cfg))
    samples = found.at_most if found.samples is None else found.samples
    if samples is None:
        return None, found.why
    processes = world_size(cfg.get('launcher'))
    return max(loader_batches(loader, samples, batch_size, processes), 1), ''


def loader_batches(loader: Any, samples: int, batch_size: int, processes: int) -> int:
    """The batches that one process's loader counts in an epoch, as mmengine's Runner builds it.

    Args:
        loader: The config of a dataloader.
        samples: The length of its data set.
        batch_size: Samples of a batch of one process.
        processes: Training processes.
    """
    dropped = bool(get(loader, 'drop_last') or get(loader, 'batch_sampler.drop_last'))
    limit = _count(get(loader, 'num_batch_per_epoch'))
    if limit is not None:  # of each process
        samples = min(samples, limit * batch_size * processes)
    # InfiniteSampler counts the samples of all processes as its own.
    endless = type_name(get(loader, 'sampler') or '') == 'InfiniteSampler'
    return epoch_iterations(samples, batch_size, 1 if endless else processes, dropped)


def filters_images(cfg: dict[str, Any]) -> bool:
    """Whether a training set leaves images out, by a rule that is not followed here.

    An epoch is then no longer than `epoch_length` says, and may be shorter.
    """
    path = 'train_dataloader.dataset'
    return count_images(get(cfg, path), path, default_scope(cfg)).at_most is not None


def tested_short(cfg: dict[str, Any]) -> int | None:
    """The short side in px of the images at which a config validates, or else tests."""
    return next((side for one in _test_pipelines(cfg) if (side := _tested_short(one))), None)


def _test_pipelines(cfg: dict[str, Any]) -> list[Any]:
    return [get(cfg, f'{name}_dataloader.dataset.pipeline') for name in ('val', 'test')]


def _tested_short(pipeline: Any) -> int | None:
    """The short side in px of the images that a pipeline leaves: the last resize or crop decides.

    Args:
        pipeline: The steps of validation or test; of those within one step the largest counts.
    """
    side: int | None = None
    for step in pipeline if isinstance(pipeline, (list, tuple)) else []:
        crops = [node for _, node in walk(step) if type_name(node) in _CROPS]
        resized = _largest_short([step])
        side = resized or side
        for crop in crops:
            cut = min(_shorts(crop.get('crop_size')), default=None)
            enlarges = type_name(crop) != 'CenterCrop' or crop.get('auto_pad')
            side = cut if side is None or cut is None or enlarges else min(cut, side)
    return side


def _fitted(pipelines: list[Any]) -> bool:
    """Whether the first of these that names a scale fits its images into a square, unpadded."""
    for steps in pipelines:
        canvas = find_canvas(steps) if isinstance(steps, (list, tuple)) else None
        if canvas is not None:
            return canvas.fits and not any(
                isinstance(step, dict) and step.get('pad_to_square') for step in steps)
    return False


def _largest_short(pipelines: list[Any]) -> int | None:
    """The largest short side in px that a resize step of these pipelines names."""
    sides = [side for _, step in walk(pipelines) if type_name(step) in _RESIZES
             and not (type_name(step) == 'ResizeEdge' and step.get('edge', 'short') != 'short')
             for side in _shorts([step.get('scale'), step.get('scales')])]
    return max(sides, default=None)


def _shorts(value: Any) -> Iterator[int]:
    """The short sides of the scales in a value: px, (w, h), or lists of these."""
    if _count(value):
        yield value
    elif isinstance(value, (list, tuple)):
        numbers = [one for one in value if _count(one)]
        if len(numbers) == len(value) == 2:
            yield min(numbers)
        else:
            for one in value:
                yield from _shorts(one)


def _classes(cfg: dict[str, Any]) -> int | None:
    """The classes that the data set names, or that all heads of the model agree on."""
    for _, node in walk(get(cfg, 'train_dataloader.dataset')):
        names = get(node, 'metainfo.classes')
        if isinstance(names, (list, tuple)):
            return len(names)
    found = {node['num_classes'] for _, node in walk(cfg.get('model'))
             if _count(node.get('num_classes'))}
    return found.pop() if len(found) == 1 else None


def _pretrained(cfg: dict[str, Any]) -> str | None:
    """What is loaded before the training begins, into more than a neck or a head."""
    found = next((one for one in weights(cfg) if not {'neck', 'head'} & set(
        re.split(r'[^a-z]+', one.part))), None)
    return None if found is None else 'detector' if found.whole else 'backbone'


def _frozen(cfg: dict[str, Any]) -> int | None:
    """The stages of the first backbone that says so."""
    for path, node in walk(cfg.get('model'), 'model'):
        stages = node.get('frozen_stages')
        if path.endswith('backbone') and isinstance(stages, int) and stages >= 0:
            return stages
    return None
