"""What reading images costs: from their source, from dictionaries, and through the cache.

    python benchmarks/data.py [--images 120] [--side 640] [--rounds 5] [--clock cpu]
    pip install --target DIR litdata; python benchmarks/data.py --litdata DIR

One process loads the same JPEGs again and again, ten at a time by every way in turns, and ratios
are taken within these tens, so that a machine that is busy now and then matters little; what comes
between two epochs of a way is more than the processor's caches hold. `--clock cpu` counts the
processor time of the process and the time that the slow source sleeps; `--clock wall` the time that
passes. Every file is read once before, so the page cache is warm: `local` is the best case of a
local disk. The slow source sleeps for each file as a disk's head (8 ms and 150 MB/s) or an object
store (25 ms and 50 MB/s) would let wait. There `plain` is timed in the first round alone, and that
time stands for the later ones, as it sleeps the same again.

The ways, each as a transform that gives the decoded image:

- `plain`: mmcv's LoadImageFromFile;
- `bytes in a dictionary`, `arrays in a dictionary`: what a worker process could keep by itself, the
  bytes as a backend of mmcv's loader; an array is copied for its reader, who may write to it;
- Ultralytics' cache=ram and cache=disk, by their method: a list of arrays in each rank, which all
  readers share without a copy, and npy files beside the images;
- LitData's: the files copied into chunks of its own format beforehand; from `local` only;
- `encoded`, `decoded`: the levels of `data_cache`.

An array that is copied and one that is shared differ before anybody looks at them, so each way is
also timed within a pipeline that resizes, flips and lays out channel by channel: the rate of an
epoch is that one. The second epoch is timed so and stands alone, as the cache checks and maps what
a process meets for the first time. Then worker processes read all images, and say how much memory
of their own that took.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from data_ways import RIVAL, SOURCES, WORDS, Load, pipeline, slept, ways, write_images

PART = 10  # images that a way loads before the next one's turn


def seconds(load: Load, paths: list[str], clock: str) -> float:
    """The time to load images once, for each of them."""
    now = time.process_time if clock == 'cpu' else time.perf_counter
    begin, rest = now(), slept()
    for path in paths:
        load(path)
    return (now() - begin + (slept() - rest if clock == 'cpu' else 0.0)) / len(paths)


def rates(args: argparse.Namespace, paths: list[str], source: str) -> dict[str, dict[str, float]]:
    """Images per second of the first and of later epochs, and ratios within rounds."""
    backend: dict[str, Any] = dict(backend='local')
    if source != 'local':
        latency, rate = SOURCES[source]
        backend = dict(backend='slow', latency=latency, rate=rate)
    with tempfile.TemporaryDirectory(dir=args.folder, prefix='tricks_benchmark_') as folder:
        found = ways(folder, backend, paths, args.litdata)
        first = {name: seconds(load, paths, args.clock) for name, load in found.items()}
        parts = [paths[begin:begin + PART] for begin in range(0, len(paths), PART)]

        def epoch(times: dict[str, list[float]], form: Callable[[Load], Load], turn: int) -> None:
            for place, part in enumerate(parts):
                for name in list(found)[::-1 if (turn + place) % 2 else 1]:
                    if name == 'plain' and source != 'local' and len(times[name]) >= len(parts):
                        times[name].append(times[name][place])  # it sleeps the same again
                    else:
                        times[name].append(seconds(form(found[name]), part, args.clock))

        second, later, within = ({name: list[float]() for name in found} for _ in range(3))
        epoch(second, pipeline, 0)
        for number in range(args.rounds):
            epoch(later, lambda load: load, number)
            epoch(within, pipeline, number)
    return summary(first, second, later, within)


def summary(
    first: dict[str, float], second: dict[str, list[float]], later: dict[str, list[float]],
    within: dict[str, list[float]],
) -> dict[str, dict[str, float]]:
    """By way: images per second, and how much faster than `plain` and than its dictionary.

    Args:
        first: Seconds for an image in the first epoch, by way.
        second: Those in the second epoch, in a pipeline, part by part.
        later: Those in later epochs.
        within: The same in a pipeline.
    """
    def ratio(times: dict[str, list[float]], name: str, rival: str) -> float:
        return statistics.median(
            other / own for other, own in zip(times[rival], times[name], strict=True))

    return {name: dict(
        first=1 / first[name],
        second_to_dictionary=ratio(second, name, RIVAL.get(name, 'dict_bytes')),
        later=1 / statistics.median(times),
        to_plain=ratio(later, name, 'plain'),
        to_dictionary=ratio(later, name, RIVAL.get(name, 'dict_bytes')),
        pipeline=1 / statistics.median(within[name]),
        pipeline_to_plain=ratio(within, name, 'plain'),
        pipeline_to_dictionary=ratio(within, name, RIVAL.get(name, 'dict_bytes')),
    ) for name, times in later.items()}


def own_memory() -> int:
    """Bytes of this process that no other shares."""
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith('Private_'))


def remember(way: str, folder: str, paths: list[str], answer: Any) -> None:
    """A worker process that reads all images twice; how much its own memory grew."""
    load = ways(folder, dict(backend='local'), paths)[way]
    load(paths[0])
    before = own_memory()
    for _ in range(2):
        for path in paths:
            load(path)
    answer.put(own_memory() - before)


def memory(args: argparse.Namespace, paths: list[str]) -> dict[str, float]:
    """MB that each further worker takes after two epochs, by way."""
    context, result = multiprocessing.get_context('fork'), {}
    with tempfile.TemporaryDirectory(dir=args.folder, prefix='tricks_benchmark_') as folder:
        for way in (name for name in WORDS if name != 'litdata'):
            answers = context.Queue()
            workers = [context.Process(target=remember, args=(way, folder, paths, answers))
                       for _ in range(2)]
            for worker in workers:
                worker.start()
            result[way] = statistics.mean(answers.get(timeout=300) for _ in workers) / 1e6
            for worker in workers:
                worker.join()
    return result


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything, on images written for it."""
    images = Path(tempfile.mkdtemp(prefix='tricks_images_'))
    try:
        paths = write_images(images, args.images, args.side)
        for path in paths:
            Path(path).read_bytes()
        size = sum(os.path.getsize(path) for path in paths) / len(paths)
        return dict(images=args.images, side=args.side, clock=args.clock, rounds=args.rounds,
                    load=os.getloadavg()[0],
                    file_kb=size / 1e3, page_cache='warm', memory=memory(args, paths),
                    sources={name: rates(args, paths, name) for name in args.sources})
    finally:
        shutil.rmtree(images)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=120)
    parser.add_argument('--side', type=int, default=640, help='side of the images, px')
    parser.add_argument('--rounds', type=int, default=5, help='later epochs of every way')
    parser.add_argument('--sources', nargs='+', default=['local', *SOURCES],
                        choices=['local', *SOURCES])
    parser.add_argument('--clock', choices=('cpu', 'wall'), default='cpu')
    parser.add_argument('--folder', default='/dev/shm' if os.access('/dev/shm', os.W_OK) else None,
                        help='where caches and npy files go')
    parser.add_argument('--litdata', metavar='DIR', help='a folder that holds LitData, to compare')
    parser.add_argument('--quick', action='store_true', help='few small images')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args()
    if args.quick:
        args.images, args.side, args.rounds = 6, 64, 2
    if args.images < 1 or args.rounds < 2 or args.side < 32:
        parser.error('--images must be >= 1, --rounds >= 2 and --side >= 32')
    return args


def main() -> None:
    args = parse()
    cv2.setNumThreads(0)
    results = measure(args)
    if args.json:
        print(json.dumps(results))
        return
    print(f'{results["images"]} JPEGs of {args.side} px, {results["file_kb"]:.0f} kB each; page '
          f'cache {results["page_cache"]}; {args.clock} time of one process, {args.rounds} '
          f'rounds; load of the machine at the begin {results["load"]:.1f}\n')
    print('| source | way | images/s, first epoch | second, in a pipeline, to a dictionary | '
          'images/s, later epochs | to plain | to a dictionary | in a pipeline | to plain | '
          'to a dictionary |')
    print('|---|---|---|---|---|---|---|---|---|---|')
    for source, found in results['sources'].items():
        for name, row in found.items():
            print(f'| {source} | {WORDS[name]} | {row["first"]:.0f} | '
                  f'{row["second_to_dictionary"]:.2f} | {row["later"]:.0f} | '
                  f'{row["to_plain"]:.2f} | {row["to_dictionary"]:.2f} | {row["pipeline"]:.0f} | '
                  f'{row["pipeline_to_plain"]:.2f} | {row["pipeline_to_dictionary"]:.2f} |')
    print('\n| way | MB of its own that each worker takes |')
    print('|---|---|')
    for name, value in results['memory'].items():
        print(f'| {WORDS[name]} | {value:.1f} |')


if __name__ == '__main__':
    main()
