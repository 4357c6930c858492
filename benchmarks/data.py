"""What reading images costs: from their source, from dictionaries, and through the cache.

    python benchmarks/data.py [--images 120] [--side 640] [--rounds 5] [--clock cpu]

One process loads the same JPEGs again and again, by every way in turns within a round, and ratios
are taken within rounds, so that a machine that is busy now and then matters little. `--clock cpu`
counts the processor time of the process and the time that the slow source sleeps; `--clock wall`
the time that passes. Every file is read once before, so the page cache is warm: `local` is the best
case of a local disk. The slow source sleeps for each file as a disk's head (8 ms and 150 MB/s) or
an object store (25 ms and 50 MB/s) would let wait.

The ways, each as a transform that gives the decoded image:

- `plain`: mmcv's LoadImageFromFile;
- `bytes in a dictionary`, `arrays in a dictionary`: what a worker process could keep by itself; an
  array is copied for its reader, who may write to it;
- `npy files`: arrays beside the images on the local disk, as Ultralytics' `cache='disk'` has them;
- `encoded`, `decoded`: the levels of `data_cache`.

Then worker processes read all images, and say how much memory of their own that took.
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
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import LocalBackend, register_backend

import tricks_plugin.registry  # noqa: F401
from tricks_plugin.tricks.data_cache.loader import LoadCachedImage

Load = Callable[[str], Any]
SOURCES = {'disk': (0.008, 150e6), 'store': (0.025, 50e6)}
WORDS = {'plain': 'plain', 'dict_bytes': 'bytes in a dictionary',
         'dict_arrays': 'arrays in a dictionary', 'npy': 'npy files', 'encoded': 'encoded',
         'decoded': 'decoded'}
slept = 0.0


@register_backend('slow')
class SlowBackend(LocalBackend):
    """The local file system, behind a wait.

    Args:
        latency: Seconds for each file.
        rate: Bytes in a second.
    """

    def __init__(self, latency: float, rate: float) -> None:
        self.latency, self.rate = latency, rate

    def get(self, filepath: str | Path) -> bytes:
        global slept
        data = super().get(filepath)
        wait = self.latency + len(data) / self.rate
        time.sleep(wait)
        slept += wait
        return data


def write_images(folder: Path, count: int, side: int) -> list[str]:
    """JPEGs of about 100 kB at 640 px, like photographs smooth with some noise."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += rng.integers(-12, 13, image.shape, dtype=np.int16)
        path = str(folder / f'{number:05d}.jpg')
        cv2.imwrite(path, np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
        paths.append(path)
    return paths


def of(transform: Any) -> Load:
    """A transform as a function of a path."""
    return lambda path: transform({'img_path': path})['img']


def ways(folder: str, backend: dict[str, Any], paths: list[str]) -> dict[str, Load]:
    """Every way to load an image, from a source, each with a memory of its own."""
    plain = of(LoadImageFromFile(backend_args=backend))
    source = SlowBackend(backend['latency'], backend['rate']) if backend['backend'] == 'slow' \
        else LocalBackend()
    held: dict[str, bytes] = {}
    arrays: dict[str, np.ndarray] = {}

    def dict_bytes(path: str) -> Any:
        if path not in held:
            held[path] = source.get(path)
        return cv2.imdecode(np.frombuffer(held[path], np.uint8), cv2.IMREAD_COLOR)

    def dict_arrays(path: str) -> np.ndarray:
        if path not in arrays:
            arrays[path] = plain(path)
        return arrays[path].copy()

    def npy(path: str) -> np.ndarray:
        beside = Path(folder) / f'{Path(path).stem}.npy'
        if not beside.exists():
            draft = beside.with_suffix(f'.{os.getpid()}.npy')
            np.save(draft, plain(path))
            draft.replace(beside)
        return np.load(beside)

    cached = dict(inner=backend, budget_mb=4000)
    return {
        'plain': plain, 'dict_bytes': dict_bytes, 'dict_arrays': dict_arrays, 'npy': npy,
        'encoded': of(LoadImageFromFile(backend_args=dict(
            backend='cached', folder=f'{folder}/encoded', **cached))),
        'decoded': of(LoadCachedImage(backend_args=backend, folder=f'{folder}/decoded',
                                      budget_mb=4000)),
    }


def seconds(load: Load, paths: list[str], clock: str) -> float:
    """The time to load all images once."""
    now = time.process_time if clock == 'cpu' else time.perf_counter
    begin, rest = now(), slept
    for path in paths:
        load(path)
    return now() - begin + (slept - rest if clock == 'cpu' else 0.0)


def rates(args: argparse.Namespace, paths: list[str], source: str) -> dict[str, dict[str, float]]:
    """Images per second of the first and of later epochs, and ratios within rounds."""
    backend: dict[str, Any] = dict(backend='local')
    if source != 'local':
        latency, rate = SOURCES[source]
        backend = dict(backend='slow', latency=latency, rate=rate)
    with tempfile.TemporaryDirectory(dir=args.folder, prefix='tricks_benchmark_') as folder:
        found = ways(folder, backend, paths)
        first = {name: seconds(load, paths, args.clock) for name, load in found.items()}
        later: dict[str, list[float]] = {name: [] for name in found}
        for number in range(args.rounds):
            order = list(found) if number % 2 else list(found)[::-1]
            for name in order:
                if name == 'plain' and source != 'local' and number:
                    later[name].append(later[name][0])  # it sleeps the same again
                    continue
                later[name].append(seconds(found[name], paths, args.clock))
    return summary(first, later, len(paths))


def summary(
    first: dict[str, float], later: dict[str, list[float]], images: int,
) -> dict[str, dict[str, float]]:
    """By way: images per second, and how much faster than `plain` and than its dictionary."""
    result = {}
    for name, times in later.items():
        rival = 'dict_arrays' if name in ('decoded', 'npy') else 'dict_bytes'
        result[name] = dict(
            first=images / first[name], later=images / statistics.median(times),
            to_plain=statistics.median(p / t for p, t in zip(later['plain'], times, strict=True)),
            to_dictionary=statistics.median(
                d / t for d, t in zip(later[rival], times, strict=True)))
    return result


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
        for way in WORDS:
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
          'rounds\n')
    print('| source | way | images/s, first epoch | later epochs | to plain | to a dictionary |')
    print('|---|---|---|---|---|---|')
    for source, found in results['sources'].items():
        for name, row in found.items():
            print(f'| {source} | {WORDS[name]} | {row["first"]:.0f} | {row["later"]:.0f} | '
                  f'{row["to_plain"]:.2f} | {row["to_dictionary"]:.2f} |')
    print('\n| way | MB of its own that each worker takes |')
    print('|---|---|')
    for name, value in results['memory'].items():
        print(f'| {WORDS[name]} | {value:.1f} |')


if __name__ == '__main__':
    main()
