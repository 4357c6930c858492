"""Measures what a few samples of a data loader take, in a worker process of its own."""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from .step_timer import Part, StepTimer, name_of

__all__ = ['Instrument', 'Probe', 'SampleTimes', 'measure', 'probe_now']

Instrument = Callable[[Any, StepTimer], Any]
"""Puts a timer into a dataset's pipelines, in place, and returns what takes the dataset's place."""


@dataclasses.dataclass(frozen=True)
class SampleTimes:
    """What a sample takes in one worker, in the mean.

    Attributes:
        parts: Seconds by part, in the order of the pipeline; they add up to ``seconds``. Parts that
            never ran are left out.
        samples: How many samples were measured.
        seconds: A sample from being asked for to its place in the batch.
        cpu_seconds: What of it the processor worked.
    """

    parts: dict[Part, float]
    samples: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Samples per second of one worker."""
        return 1 / max(self.seconds, 1e-12)

    def of_kind(self, kind: str) -> float:
        """Seconds of all parts of a kind."""
        return sum(value for part, value in self.parts.items() if part.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON, in milliseconds."""
        return {'samples': self.samples, 'ms': 1e3 * self.seconds,
                'cpu_ms': 1e3 * self.cpu_seconds, 'images_per_second': self.rate,
                'parts': [{'name': part.name, 'kind': part.kind, 'ms': 1e3 * value}
                          for part, value in self.parts.items()]}


def measure(
    dataset: Any, batches: Sequence[Sequence[Any]], collate: Callable[[list[Any]], Any],
    instrument: Instrument, clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> SampleTimes:
    """Loads batches of samples and times the parts.

    Args:
        dataset: A dataset by index. Its pipelines are changed in place, and stay so.
        batches: The indices of each batch. The first sample is loaded once more beforehand, so
            that what happens once only is not counted.
        collate: Makes a batch of samples.
        instrument: Puts the timer into the dataset.
        clock: Gives seconds.
        cpu_clock: Gives the processor's seconds.
    """
    timer = StepTimer(clock)
    around = timer.declare(name_of(dataset), 'dataset')
    dataset = instrument(dataset, timer)
    batching = timer.declare(name_of(collate), 'batching')
    dataset[batches[0][0]]
    timer.reset()
    worked = cpu_clock()
    for indices in batches:
        samples = []
        for index in indices:
            with timer.part(around):
                samples.append(dataset[index])
        with timer.part(batching):
            collate(samples)
    worked = cpu_clock() - worked
    count = sum(len(indices) for indices in batches)
    parts = {part: value / count for part, value in timer.seconds.items() if value}
    return SampleTimes(parts, count, sum(parts.values()), worked / count)


def _batches(sampler: Any, first: int, samples: int) -> list[list[Any]]:
    """Indices of whole batches, and of a part of the last one, from a loader's own sampler.

    Args:
        sampler: A batch sampler.
        first: The first batch; after the sampler's last one it begins anew.
        samples: How many indices.
    """
    found: list[list[Any]] = []
    left = samples
    for indices in itertools.chain(itertools.islice(iter(sampler), first, None), iter(sampler)):
        found.append(list(indices)[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    return found


class _Measured(Dataset):
    """A dataset whose one sample is the measurement of another dataset's.

    Attributes:
        dataset: The one that is measured, where a worker's transforms look for it.
    """

    def __init__(self, loader: Any, instrument: Instrument, samples: int, start: float) -> None:
        self.dataset = loader.dataset
        self._sampler = loader.batch_sampler
        self._collate = loader.collate_fn
        self._instrument = instrument
        self._samples = samples
        self._first = int(start * len(loader))

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> SampleTimes:
        batches = _batches(self._sampler, self._first, self._samples)
        return measure(self.dataset, batches, self._collate, self._instrument)


def _as_it_is(value: Any) -> Any:
    return value


class Probe:
    """Measures a few samples beside a training, which goes on meanwhile.

    The worker is a process like the loader's own: what it draws, caches or changes is not seen by
    the training.

    Args:
        loader: A DataLoader over a dataset by index.
        instrument: Puts the timer into the dataset.
        samples: How many to measure; at least one batch's part.
        start: Where in the epoch's order to begin, in [0, 1); by default drawn.
    """

    def __init__(self, loader: Any, instrument: Instrument, samples: int,
                 start: float | None = None) -> None:
        place = random.Random().random() if start is None else start
        self._loader = loader
        self._task = (instrument, samples, place)
        self._thread: threading.Thread | None = None
        self.times: SampleTimes | None = None
        self.error = ''

    def start(self) -> None:
        """Starts the worker; what keeps it from measuring goes to ``error``."""
        loader = self._loader
        try:
            if isinstance(loader.dataset, IterableDataset) \
                    or getattr(loader, 'batch_sampler', None) is None:
                raise TypeError(f'{type(loader.dataset).__name__} gives no samples by index')
            # A generator of its own: the training's draws stay what they were.
            worker = iter(DataLoader(
                _Measured(loader, *self._task), batch_size=None, num_workers=1,
                collate_fn=_as_it_is, worker_init_fn=loader.worker_init_fn,
                multiprocessing_context=loader.multiprocessing_context if loader.num_workers
                else None, generator=torch.Generator()))
        except Exception as error:  # a user's dataset may be anything
            self.error = _one_line(error)
            return
        self._thread = threading.Thread(target=self._wait, args=(worker,), daemon=True)
        self._thread.start()

    def _wait(self, worker: Iterator[SampleTimes]) -> None:
        try:
            self.times = next(worker)
        except Exception as error:  # what the dataset's code raised, or the worker's end
            self.error = _one_line(error)

    def done(self, patience: float = 0.0) -> bool:
        """Whether ``times`` or ``error`` is there.

        Args:
            patience: Seconds to wait for it.
        """
        if self._thread is not None and not (self.times or self.error):
            self._thread.join(patience)
        return bool(self.times or self.error)


def probe_now(loader: Any, instrument: Instrument, samples: int) -> SampleTimes:
    """Measures samples from the beginning of the loader's order, and waits for them.

    Raises:
        RuntimeError: If the samples cannot be loaded; the message is one line.
    """
    probe = Probe(loader, instrument, samples, start=0.0)
    probe.start()
    while not probe.done(patience=60.0):
        pass
    if probe.times is None:
        raise RuntimeError(probe.error)
    return probe.times


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
