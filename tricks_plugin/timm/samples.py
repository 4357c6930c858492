"""Samples and batches: exact seeds, and errors that name the image."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from ..plan.errors import TrickError
from .boundary import one_line

__all__ = ['EpochSeeded', 'Images', 'batches', 'seed_everything', 'set_epoch']


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


class Images(Dataset):
    """A dataset by index whose errors name the image.

    Args:
        dataset: timm's dataset.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    @property
    def transform(self) -> Any:
        """The transform of the dataset inside; timm's loader sets it."""
        return self.dataset.transform

    @transform.setter
    def transform(self, value: Any) -> None:
        self.dataset.transform = value

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            raise TrickError(f'cannot use image {self.name(index)}: {one_line(error)}') from error

    def name(self, index: Any) -> str:
        """The file of a sample, or its number where its dataset has no files."""
        try:
            return str(self.filename(index, absolute=True))
        except (AttributeError, AssertionError, NotImplementedError, TypeError):
            return f'number {index}'

    def __len__(self) -> int:
        return len(self.dataset)

    def filename(self, *args: Any, **kwargs: Any) -> Any:
        """The file of a sample, as timm's datasets give it."""
        return self.dataset.filename(*args, **kwargs)


class EpochSeeded(Images):
    """A dataset whose worker processes draw from (seed, epoch, rank, worker) alone.

    Persistent workers otherwise go on with the numbers of the epoch before, which a resumed
    training does not have.

    Args:
        dataset: Any dataset by index.
        seed: The run's seed.
        rank: The process's rank.
    """

    def __init__(self, dataset: Any, seed: int, rank: int) -> None:
        super().__init__(dataset)
        self._seed = seed
        self._rank = rank
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._seeded = -1

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
        return super().__getitem__(index)


def batches(loader: Any, split: str) -> Iterator[Any]:
    """A loader's batches; what its worker processes raise is one line.

    Args:
        loader: timm's loader.
        split: The split's name, for the message.

    Raises:
        TrickError: If an image cannot be used, or a worker process ends.
    """
    source = iter(loader)
    while True:
        try:
            batch = next(source)
        except StopIteration:
            return
        except (torch.cuda.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            # A worker's error arrives with its traceback as text, and the error as the last line.
            last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            text = last[0].partition('TrickError: ')[2] or last[0]
            raise TrickError(f'split {split}: {text}') from error
        yield batch


def set_epoch(loader: Any, epoch: int) -> None:
    """Tells a loader's dataset and samplers the epoch, counted from 0."""
    for part in (loader.dataset, loader.batch_sampler, loader.sampler):
        if hasattr(part, 'set_epoch'):
            part.set_epoch(epoch)
