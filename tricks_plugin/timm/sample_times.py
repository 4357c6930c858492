"""Puts timers into a dataset of timm: reading apart from decoding, and every transform."""

from __future__ import annotations

import io
from typing import Any

from timm.data import ImageDataset

from ..common.step_timer import Part, StepTimer, name_of, step_names, time_steps

__all__ = ['instrument', 'pipeline_of']

_SLOTS = ('transform', 'transforms', 'augmentation', 'normalize')


class _TimedReader:
    """A reader of timm that reads files whole, under a timer.

    Args:
        reader: Gives ``(file or image, target, ...)`` by index.
        part: What it counts for.
        timer: Where it counts.
    """

    def __init__(self, reader: Any, part: Part, timer: StepTimer) -> None:
        self._reader = reader
        self._part = part
        self._timer = timer

    def __getitem__(self, index: Any) -> Any:
        with self._timer.part(self._part):
            image, *rest = self._reader[index]
            if hasattr(image, 'read'):
                with image:
                    image = io.BytesIO(image.read())
            return (image, *rest)

    def __len__(self) -> int:
        return len(self._reader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):
            raise AttributeError(name)
        return getattr(self._reader, name)


class _Decoding:
    """An ImageDataset whose time, without its reading and its transforms, is that of decoding."""

    def __init__(self, dataset: Any, part: Part, timer: StepTimer) -> None:
        self.dataset = dataset
        self._part = part
        self._timer = timer

    def __getitem__(self, index: Any) -> Any:
        with self._timer.part(self._part):
            return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)


def instrument(dataset: Any, timer: StepTimer) -> Any:
    """Times the reader, the decoding and every transform of a dataset, in place.

    Args:
        dataset: timm's ImageDataset, another dataset by index, or a wrapper (``.dataset``) of one.
        timer: Where the time counts.

    Returns:
        What takes the dataset's place.
    """
    inner = vars(dataset).get('dataset')
    if inner is not None:
        dataset.dataset = instrument(inner, timer)
    decoding = None
    if isinstance(dataset, ImageDataset):
        reading = timer.declare(f'{type(dataset.reader).__name__}: reading', 'reading')
        dataset.reader = _TimedReader(dataset.reader, reading, timer)
        decoding = timer.declare('ImageDataset: decoding', 'decoding')
    for name in _SLOTS:
        steps = vars(dataset).get(name)
        if steps is not None:
            setattr(dataset, name, time_steps(steps, timer))
    return dataset if decoding is None else _Decoding(dataset, decoding, timer)


def pipeline_of(dataset: Any) -> list[str]:
    """The names of a dataset's reader and transforms, through any wrappers."""
    inner = vars(dataset).get('dataset')
    found = [] if inner is None else pipeline_of(inner)
    if isinstance(dataset, ImageDataset):
        found.append(name_of(dataset.reader))
    for name in _SLOTS:
        found += step_names(vars(dataset).get(name))
    return found
