"""The monitor of a training's data, in either trainer."""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..files import write_json
from ..sample_times import Probe
from .advice import Situation, brought, explain
from .cache import cache_of
from .meter import Stretch, WaitMeter

__all__ = ['FILE', 'DataMonitor', 'Limits', 'describe', 'read_record']

FILE = 'data_monitor.json'
_FEWEST = 3  # intervals that a training must have had to be judged at its end
_PATIENCE = 10.0  # seconds that the end of a training waits for a measurement under way


@dataclasses.dataclass(frozen=True)
class Limits:
    """When the monitor speaks.

    Attributes:
        threshold: The share of waiting, in (0, 1), that is worth a word.
        interval: Iterations between two looks.
        window: Iterations whose mean share is judged.

    Raises:
        ValueError: If one is out of its bounds.
    """

    threshold: float = 0.1
    interval: int = 10
    window: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f'threshold must be in (0, 1), got {self.threshold!r}')
        if self.interval < 1 or self.window < 1:
            raise ValueError('interval and window must be >= 1, got '
                             f'{self.interval!r} and {self.window!r}')


def describe(
    loader: Any, pipeline: list[str], processes: int, processors: int, iterations: int,
) -> tuple[dict[str, Any], Situation]:
    """How a training gets its data: as plain values for the record, and for the advice.

    Args:
        loader: The DataLoader.
        pipeline: The names of its dataset's steps.
        processes: The number of training processes.
        processors: Those for this process and its workers.
        iterations: The length of the training.
    """
    size = _batch_size(loader)
    settings = dict(
        num_workers=loader.num_workers, batch_size=size, prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers, pin_memory=loader.pin_memory,
        processes=processes, pipeline=pipeline)
    return settings, Situation(loader.num_workers, size, processors, loader.persistent_workers,
                               iterations, lambda: cache_of(loader.dataset))


def _batch_size(loader: Any) -> int:
    """Samples in a batch; in the mean, where batches differ."""
    sampler = loader.batch_sampler
    found = loader.batch_size or getattr(sampler, 'batch_size', None) \
        or getattr(sampler, 'average_batch_size', 1)
    sizes: list[Any] = list(found) if isinstance(found, (list, tuple)) else [found]
    return max(1, round(sum(sizes) / len(sizes)))


def read_record(folder: Path | None) -> dict[str, Any] | None:
    """The record that an earlier run left in a folder; None without a readable one."""
    try:
        found = json.loads((folder / FILE).read_text(encoding='utf-8')) if folder else None
        return found if found is None or found['images_per_second'] > 0 \
            and isinstance(found['settings']['pipeline'], list) and found['share'] >= 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class DataMonitor:
    """Follows how long a training waits for data, and speaks once where that is long.

    The first look is passed over: it holds the start of workers and device. A record of the run,
    ``data_monitor.json``, is left in ``folder``: ``share``, ``step_ms``, ``iteration_ms``,
    ``images_per_second`` (of this process), ``iterations``, ``settings`` and, where a bottleneck
    was measured, ``sample``. A record that an earlier run left there is compared with this one.

    Args:
        meter: Measures the iterations.
        limits: When to speak.
        situation: How the data comes.
        settings: The same as plain values, for the record; ``pipeline`` lists the steps.
        probe: Makes the measurement of samples.
        logger: Where to speak.
        folder: Where the record lies; None on processes that neither speak nor write.
        publish: Called with the share of each look.
    """

    def __init__(
        self, meter: WaitMeter, limits: Limits, situation: Situation,
        settings: Mapping[str, Any], probe: Callable[[], Probe], *, logger: logging.Logger,
        folder: Path | None, publish: Callable[[float], None],
    ) -> None:
        self.meter = meter
        self.limits = limits
        self.share = 0.0
        self._situation = situation
        self._settings = dict(settings)
        self._make_probe = probe
        self._logger = logger
        self._folder = folder
        self._publish = publish
        self._arrived = 0
        self._looks = 0
        self._recent: collections.deque[Stretch] = collections.deque()
        self._total = Stretch()
        self._probe: Probe | None = None
        self._seen = Stretch()
        self._told = self._compared = False
        self._before = read_record(folder)

    def arrived(self, restarted: bool = False) -> None:
        """A batch is there; every ``interval`` batches the monitor looks at the figures.

        Args:
            restarted: See `WaitMeter.arrive`.
        """
        self.meter.arrive(restarted)
        self._arrived += 1
        if self._arrived % self.limits.interval == 0:
            self.look()

    def finished(self) -> None:
        """An iteration is done."""
        self.meter.finish()

    def look(self) -> None:
        """Takes the figures since the last look, publishes the share and judges the window."""
        stretch = self.meter.take()
        self.share = stretch.share
        self._publish(stretch.share)
        self._looks += 1
        if self._looks == 1 or self._folder is None:
            return
        self._total.add(stretch)
        self._recent.append(stretch)
        seen = self._window()
        if seen.iterations >= self.limits.window:
            self._judge(seen, patience=0.0)

    def _window(self) -> Stretch:
        """The latest looks that hold a window; all, where they do not."""
        found = Stretch()
        for kept, stretch in enumerate(reversed(self._recent), 1):
            found.add(stretch)
            if found.iterations >= self.limits.window:
                while len(self._recent) > kept:
                    self._recent.popleft()
                break
        return found

    def _judge(self, seen: Stretch, patience: float) -> None:
        """Compares with the run before, and speaks of a bottleneck once its cause is measured."""
        if not self._compared:
            self._compared = True
            words = brought(self._before, self._record()) if self._before else ''
            if words:
                self._logger.info(words)
        if self._told:
            return
        if self._probe is None:
            if seen.share < self.limits.threshold:
                return
            self._seen = seen
            self._probe = self._make_probe()
            self._probe.start()
        if self._probe.done(patience):
            self._told = True
            self._logger.warning(explain(self._seen, self._probe.times, self._situation,
                                         self._probe.error))
            self._write()

    def _record(self) -> dict[str, Any]:
        total, size = self._total, self._situation.batch_size
        iteration = total.seconds / max(total.iterations, 1)
        record = {
            'share': total.share, 'step_ms': 1e3 * total.step, 'iteration_ms': 1e3 * iteration,
            'images_per_second': size / iteration if iteration else 0.0,
            'iterations': total.iterations, 'settings': self._settings}
        if self._probe is not None and self._probe.times is not None:
            record['sample'] = self._probe.times.to_dict()
        return record

    def _write(self) -> None:
        if self._folder is not None:
            write_json(self._folder / FILE, self._record())

    def close(self) -> None:
        """Judges a run too short for a window by all of it, and writes the record."""
        if self._folder is None or self._total.iterations < _FEWEST * self.limits.interval:
            return
        self._judge(self._window(), _PATIENCE)
        self._write()
