"""What the figures of a waiting training mean, in plain words."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any

from ..sample_times import SampleTimes
from .arithmetic import slowest_step, waiting_share, workers_needed
from .cache import Cache
from .meter import Stretch

__all__ = ['Situation', 'blame', 'brought', 'explain', 'remedies']

_ENOUGH = 0.02  # a share of waiting that measures as none
_MATTERS = 0.1  # the share of a sample's time from which a part is worth a remedy
_CHANGED = 0.05  # a difference of shares that two runs of the same settings do not show


@dataclasses.dataclass(frozen=True)
class Situation:
    """How a training gets its data.

    Attributes:
        workers: Worker processes of this training process; 0: it loads by itself.
        batch_size: Samples in a batch of this process.
        processors: Processors for this process and its workers.
        persistent: Whether the workers live on from epoch to epoch.
        iterations: The length of the training.
        cache: Tells of the cache that files are read through, as it is when it is asked.
    """

    workers: int
    batch_size: int
    processors: int
    persistent: bool
    iterations: int
    cache: Callable[[], Cache] = Cache


def blame(times: SampleTimes) -> tuple[str, float]:
    """The largest cause of a sample's time, in words, and its seconds."""
    causes: dict[str, float] = {}
    for part, seconds in times.parts.items():
        name = {'reading': 'reading the files', 'decoding': 'decoding the images',
                'transform': f'the transform {part.name}',
                'dataset': f'{part.name} itself (annotations, copies)',
                'batching': f'making batches ({part.name})'}[part.kind]
        causes[name] = causes.get(name, 0.0) + seconds
    cause = max(causes, key=lambda name: causes[name])
    return cause, causes[cause]


def remedies(times: SampleTimes, step: float, at: Situation) -> list[str]:
    """What would help, each with the share of waiting that it would leave.

    Args:
        times: What a sample takes.
        step: Seconds of an iteration without waiting.
        at: How the data comes.
    """
    found = []
    needed = workers_needed(times.seconds, at.batch_size, step)
    if needed > at.workers:
        busy = at.batch_size * times.cpu_seconds / step
        if busy <= at.processors:
            found.append(f'{needed} workers in place of {at.workers} (num_workers): that many make '
                         f'{at.batch_size} images every {1e3 * step:.0f} ms')
        else:
            left = waiting_share(times.seconds, at.batch_size, step, at.processors)
            found.append(f'more workers alone do not suffice: the images of a step keep {busy:.1f} '
                         f'processors busy, and there are {at.processors}, whose workers would '
                         f'leave {left:.0%} waiting')
    reading, decoding = times.of_kind('reading'), times.of_kind('decoding')

    def without(seconds: float) -> str:
        share = waiting_share(times.seconds - seconds, at.batch_size, step, at.workers)
        return f'with {at.workers} workers it leaves {share:.0%} waiting'

    cache, least = at.cache(), _MATTERS * times.seconds
    kept = reading + decoding if cache.level == 'decoded' else reading if cache.level else 0.0
    if kept >= least and cache.full:
        found.append("a larger share of the files in data_cache's folder (budget_mb): "
                     f'{without(kept)}')
    elif kept >= least and cache.filling:
        found.append(f'nothing to be set for the files: the cache (level {cache.level}) is still '
                     f'being filled, and later epochs read from it: {without(kept)}')
    if reading >= least and not cache.level:
        found.append('the trick data_cache, level encoded (the files in memory or on a local '
                     f'disk): {without(reading)}')
    if decoding >= least and cache.level != 'decoded':
        found.append('the trick data_cache, level decoded (images decoded once): '
                     f'{without(reading + decoding)}')
    slow = {part: seconds for part, seconds in times.parts.items() if part.kind == 'transform'}
    worst = max(slow, key=lambda part: slow[part], default=None)
    if worst is not None and slow[worst] >= _MATTERS * times.seconds:
        found.append(f'a cheaper {worst.name}, as what it does alike in every epoch can be done '
                     f'once: without it, {without(slow[worst])}')
    return found


def explain(seen: Stretch, times: SampleTimes | None, at: Situation, error: str = '') -> str:
    """What is lost, to what, and what would help.

    Args:
        seen: The iterations that were looked at.
        times: What a sample takes; None if it could not be measured.
        at: How the data comes.
        error: Why it could not.
    """
    lines = [_lost(seen, at)]
    if times is None:
        lines.append(f'What is to blame could not be measured: {error}')
        return '\n'.join(lines)
    cause, seconds = blame(times)
    figures = ', '.join(f'{part.name} {1e3 * value:.1f}' for part, value in sorted(
        times.parts.items(), key=lambda item: -item[1])[:5])
    lines.append(f'A worker makes an image in {1e3 * times.seconds:.1f} ms ({times.samples} '
                 f'measured beside the run): {figures}')
    helps = remedies(times, seen.step, at)
    if seen.restarts and seen.starting >= seen.waiting / 2:
        lines.append(f'To blame: the end of the loader, which was begun anew {seen.restarts} times '
                     "in these iterations (mmengine's IterBasedTrainLoop sleeps 2 s for it and "
                     f'starts the workers): {seen.starting / seen.waiting:.0%} of the waiting is '
                     'for the first batches after that')
        helps = ["sampler=dict(type='InfiniteSampler') in train_dataloader, which has no end"]
    elif at.workers and not at.persistent and seen.starting >= seen.waiting / 2:
        lines.append(f'To blame: starting the workers, {seen.starting / seen.waiting:.0%} of the '
                     'waiting is for the first batches of epochs')
        helps = ['persistent_workers=True in the data loader (the trick runtime sets it)']
    elif waiting_share(times.seconds, at.batch_size, seen.step, at.workers) < _ENOUGH:
        batch = slowest_step(times.seconds, at.batch_size, at.workers)
        lines.append(
            f'By that, {at.workers} workers make a batch every {1e3 * batch:.0f} ms, fast enough '
            f'for steps of {1e3 * seen.step:.0f} ms: to blame is what comes between, the copying '
            f'of batches between processes, or {at.workers + 1} processes on {at.processors} '
            'processors')
        helps = []
    else:
        lines.append(f'To blame: {cause}, {seconds / times.seconds:.0%} of it')
    if helps:
        lines.append('What would help: ' + '; '.join(helps))
    return '\n'.join(lines)


def _lost(seen: Stretch, at: Situation) -> str:
    iteration = seen.seconds / max(seen.iterations, 1)
    lost = iteration * seen.share
    whole = [datetime.timedelta(seconds=round(at.iterations * value))
             for value in (lost, iteration)]
    return (f'Waiting for data takes {seen.share:.0%} of the time: {1e3 * lost:.1f} of '
            f'{1e3 * iteration:.1f} ms in the mean of the last {seen.iterations} iterations; over '
            f'the {at.iterations} of this training, {whole[0]} of {whole[1]}')


def brought(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What a change since an earlier run brought; empty where nothing changed.

    Images per second are those of all processes, taking each to be as fast as the one that speaks.

    Args:
        before: The record of the earlier run, see `DataMonitor`.
        now: The same of this one.
    """
    old, new = before['settings'], now['settings']
    changes = [f'{name} {old.get(name)} -> {new.get(name)}' for name in new
               if name != 'pipeline' and old.get(name) != new.get(name)]
    changes += [f'+ {name}' for name in new['pipeline'] if name not in old['pipeline']]
    changes += [f'- {name}' for name in old['pipeline'] if name not in new['pipeline']]
    if not changes and abs(now['share'] - before['share']) < _CHANGED:
        return ''
    was, rate = (one['images_per_second'] * one['settings'].get('processes', 1)
                 for one in (before, now))
    since = f'changed since: {", ".join(changes)}' if changes else 'by the same settings'
    return (f'Waiting for data takes {now["share"]:.0%} of the time, {before["share"]:.0%} in the '
            f'run before ({since}); {rate:.1f} images/s, '
            f'{rate / was:.2f} times its {was:.1f}')
