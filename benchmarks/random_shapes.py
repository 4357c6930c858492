"""BatchRandomShapes against mmdet's BatchSyncRandomResize: seconds per call, and the aspect.

    python benchmarks/random_shapes.py [--size 608] [--batch-size 8] [--processes 2] [--rounds 12]

Both resize the same batches to the same shape, in turns within each round. The draw is timed with
as many processes as asked for (gloo), since mmdet's one waits for all ranks; the aspect is what
each rule makes of common batch shapes over its whole range. Seconds are wall-clock time of one
thread per process; on a shared machine only the ratios, taken within a round, say much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmdet.models.data_preprocessors import BatchSyncRandomResize
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from tricks_plugin.functional import training_sizes
from tricks_plugin.tricks.random_shapes.batch_augment import BatchRandomShapes

SHAPES = [(160, 192), (416, 416), (608, 416), (480, 640), (800, 1088), (800, 1344), (1344, 800)]
INTERVAL = 10


def make_samples(size: int, count: int, boxes: int) -> list[DetDataSample]:
    """Data samples with random boxes."""
    samples = []
    for _ in range(count):
        corners = torch.rand(boxes, 2) * size * 0.5
        instances = InstanceData(bboxes=torch.cat([corners, corners * 1.5], 1),
                                 labels=torch.zeros(boxes, dtype=torch.long))
        samples.append(DetDataSample(gt_instances=instances, metainfo=dict(
            img_shape=(size, size), pad_shape=(size, size), batch_input_shape=(size, size),
            scale_factor=(1.0, 1.0), ori_shape=(size, size))))
    return samples


def seconds(call: Any) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def resize_rounds(args: argparse.Namespace, target: int) -> list[tuple[float, float]]:
    """Seconds of one call of each, for a batch that becomes ``target`` px."""
    images = torch.rand(args.batch_size, 3, args.size, args.size)
    ours = BatchRandomShapes(base=args.size, sizes=[target])
    ours.size = target
    theirs = BatchSyncRandomResize(random_size_range=(64, args.size), interval=10**9)
    theirs._input_size = (target, target)
    MessageHub.get_current_instance().update_info('iter', 0)
    pairs = []
    for number in range(args.rounds + 2):
        pair = {}
        for module in (ours, theirs) if number % 2 else (theirs, ours):
            samples = make_samples(args.size, args.batch_size, args.boxes)
            pair[module] = seconds(lambda m=module, s=samples: m(images, s))
        pairs.append((pair[ours], pair[theirs]))
    return pairs[2:]


def draw_rounds(args: argparse.Namespace) -> list[tuple[float, float]]:
    """Seconds of one draw of each."""
    ours = BatchRandomShapes(base=608, ratio_range=(320 / 608, 1.0))
    theirs = BatchSyncRandomResize(random_size_range=(320, 608))
    device = torch.device('cpu')
    pairs = []
    for number in range(args.rounds * 10 + 10):
        pairs.append((seconds(lambda n=number: ours.set_iteration(n * INTERVAL, 0)),
                      seconds(lambda: theirs._get_random_size(1.0, device))))
    return pairs[10:]


def worker(rank: int, args: argparse.Namespace, folder: str) -> None:
    """One process of the comparison; rank 0 writes what it measured."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group('gloo', init_method=f'file://{folder}/group', rank=rank,
                            world_size=args.processes)
    result = {'draw': draw_rounds(args)}
    if rank == 0:
        for name, target in (('shrink', args.target), ('same', args.size)):
            result[name] = resize_rounds(args, target)
        Path(folder, 'result.json').write_text(json.dumps(result))
    dist.barrier()
    dist.destroy_process_group()


def distortions() -> dict[str, tuple[float, float]]:
    """Mean and largest share by which each rule changes the aspect, over shapes and sizes."""
    found: dict[str, list[float]] = {'ours': [], 'theirs': []}
    for height, width in SHAPES:
        low, high = int(height * 320 / 608 / 32 + 0.5), height // 32
        for cells in range(low, high + 1):  # mmdet's range counts cells of the height
            new = (cells * 32, 32 * int(width / height * cells))
            found['theirs'].append(_aspect((height, width), new))
        short = min(height, width)
        for size in training_sizes(short, (320 / 608, 1.0)):
            augment = BatchRandomShapes(base=short, sizes=[size])
            augment.size = size
            _, samples = augment(torch.zeros(1, 1, height, width), [
                DetDataSample(metainfo=dict(img_shape=(height, width)))])
            found['ours'].append(_aspect((height, width), samples[0].img_shape))
    return {name: (statistics.mean(values), max(values)) for name, values in found.items()}


def _aspect(old: tuple[int, int], new: tuple[int, int]) -> float:
    ratio = (new[1] / old[1]) / (new[0] / old[0])
    return max(ratio, 1 / ratio) - 1


def summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians, and the ratio within a round with its quartiles."""
    low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in pairs], n=4)
    ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
    return dict(ours=ours, theirs=theirs, ratio=middle, low=low, high=high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=608, help='side of the batch, px')
    parser.add_argument('--target', type=int, default=416, help='side after shrinking, px')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--boxes', type=int, default=12, help='boxes per image')
    parser.add_argument('--processes', type=int, default=2, help='ranks that draw together')
    parser.add_argument('--rounds', type=int, default=12)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(worker, (args, folder), nprocs=args.processes)
        rounds = json.loads(Path(folder, 'result.json').read_text())
    results = {name: summary(pairs) for name, pairs in rounds.items()}
    aspects = distortions()
    if args.json:
        print(json.dumps(dict(seconds=results, aspect=aspects)))
        return
    print('| what | BatchRandomShapes | BatchSyncRandomResize | ratio (quartiles) |')
    print('|---|---|---|---|')
    names = {'shrink': f'a batch of {args.batch_size} from {args.size} to {args.target} px, ms',
             'same': f'a batch that stays at {args.size} px, ms',
             'draw': f'one draw, {args.processes} processes, ms'}
    for name, words in names.items():
        row = results[name]
        print(f'| {words} | {row["ours"] * 1e3:.3f} | {row["theirs"] * 1e3:.3f} | '
              f'{row["ratio"]:.2f} ({row["low"]:.2f} to {row["high"]:.2f}) |')
    for index, words in enumerate(('mean', 'largest')):
        ours, theirs = aspects['ours'][index], aspects['theirs'][index]
        print(f'| aspect changed by, {words} | {ours:.1%} | {theirs:.1%} | {ours / theirs:.2f} |')


if __name__ == '__main__':
    main()
