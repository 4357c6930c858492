"""What the tricks cost or save per training step: the same model with each of them on and off.

    python benchmarks/step.py [--model yolov3] [--size 192] [--batch-size 2] [--steps 12]

Every trick's model-side effect gets a model of its own; it and a plain twin take steps in turns on
the same batch, and the ratio is taken within each pair, so that a machine that is busy now and then
matters little. `--clock cpu` counts the processor time of all threads, `--clock wall` the time
that passes. sync_bn runs in two processes (gloo), its plain twin too, each with the whole batch
size; there, processor time leaves out what a process waits for the other.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet
import torch
import torch.distributed as dist
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import tricks_plugin
from tricks_plugin import BFloat16OptimWrapper, MixUpWeightingHook

ZOO = Path(mmdet.__file__).parent / '.mim' / 'configs'
CONFIGS = {'yolov3': 'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
           'retinanet': 'retinanet/retinanet_r18_fpn_1x_coco.py',
           'efficientnet': str(Path(__file__).parents[1]
                               / 'configs/bccd/yolov3_efficientnet-lite0_bccd.py')}
CLASSES = 80
Step = Callable[[dict], Any]


def load_config(name: str) -> Config:
    """A zoo config whose backbone starts at random."""
    cfg = Config.fromfile(ZOO / CONFIGS[name])
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.pop('checkpoint', None)
    cfg.model.bbox_head.num_classes = CLASSES
    return cfg


def build(cfg: Config, device: str) -> torch.nn.Module:
    """A model in train mode; the same numbers in every call."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return MODELS.build(cfg.model).to(device).train()


def stepper(model: torch.nn.Module, wrapper: type[OptimWrapper] = OptimWrapper) -> Step:
    """The training step of a model; with a rate of 0, so that every step does the same work.

    With a rate the weights run away on random data, and the twin that has taken more steps can
    become several times slower than the other.
    """
    optim = wrapper(torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9))
    return lambda batch: model.train_step(batch, optim)


def with_trick(cfg: Config, name: str) -> Config:
    """The config with one trick; SystemExit if it has nothing to change."""
    changed, plan = tricks_plugin.apply_tricks(cfg, [name])
    if plan.tricks[0].status != 'applied':
        raise SystemExit(f'{name}: {plan.tricks[0].reason}')
    return changed


def amp(cfg: Config, device: str) -> Step:
    return stepper(build(cfg, device), BFloat16OptimWrapper)


def ema(cfg: Config, device: str) -> Step:
    model = build(cfg, device)
    average, train = ExponentialMovingAverage(model, update_buffers=True), stepper(model)

    def step(batch: dict) -> None:
        train(batch)
        average.update_parameters(model)
    return step


def channels_last(cfg: Config, device: str) -> Step:
    return stepper(build(cfg, device).to(memory_format=torch.channels_last))


def mixup(cfg: Config, device: str) -> Step:
    model = build(cfg, device)
    MixUpWeightingHook().before_train(types.SimpleNamespace(
        model=model, logger=logging.getLogger('benchmark'),
        train_dataloader=types.SimpleNamespace(dataset=None)))
    return stepper(model)


def label_smoothing(cfg: Config, device: str) -> Step:
    return stepper(build(with_trick(cfg, 'label_smoothing'), device))


def resnet_d(cfg: Config, device: str) -> Step:
    return stepper(build(with_trick(cfg, 'resnet_d'), device))


ARMS: dict[str, Callable[[Config, str], Step]] = {
    'amp': amp, 'ema': ema, 'channels_last': channels_last, 'mixup': mixup,
    'label_smoothing': label_smoothing, 'resnet_d': resnet_d}
WORDS = {'amp': 'amp (bfloat16)', 'ema': 'ema', 'channels_last': 'runtime: channels-last',
         'mixup': 'mixup: weighting the losses', 'label_smoothing': 'label_smoothing',
         'resnet_d': 'resnet_d', 'sync_bn': 'sync_bn (2 processes, gloo)'}


def make_batch(size: int, batch_size: int, boxes: int = 12) -> dict:
    """Random images with boxes, half of them mixed in."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(batch_size):
        corners = torch.rand(boxes, 2, generator=generator) * size * 0.6
        sides = (0.05 + 0.3 * torch.rand(boxes, 2, generator=generator)) * size
        instances = InstanceData(
            bboxes=torch.cat([corners, corners + sides], 1),
            labels=torch.randint(CLASSES, (boxes,), generator=generator),
            mixup_weights=torch.where(torch.arange(boxes) < boxes // 2, 0.3, 0.7))
        samples.append(DetDataSample(gt_instances=instances, metainfo=dict(
            img_shape=(size, size), scale_factor=(1.0, 1.0))))
    images = torch.randint(0, 256, (batch_size, 3, size, size), generator=generator)
    return dict(inputs=list(images.to(torch.uint8)), data_samples=samples)


def seconds(step: Step, batch: dict, args: argparse.Namespace) -> float:
    clock = time.process_time if args.clock == 'cpu' else time.perf_counter
    wait = torch.cuda.synchronize if args.device != 'cpu' else lambda: None
    wait()
    start = clock()
    step(batch)
    wait()
    return clock() - start


def pairs_of(plain: Step, other: Step, args: argparse.Namespace,
             meet: Callable[[], Any] = lambda: None) -> list[tuple[float, float]]:
    """Seconds of neighbouring steps, in alternating order, after two warm-up pairs."""
    batch, pairs = make_batch(args.size, args.batch_size), []
    for number in range(args.steps + 2):
        taken = {}
        for step in (plain, other) if number % 2 else (other, plain):
            meet()
            taken[step] = seconds(step, batch, args)
        pairs.append((taken[plain], taken[other]))
    return pairs[2:]


def sync_bn_worker(rank: int, args: argparse.Namespace, folder: str) -> None:
    """One of the two processes; rank 0 writes what it measured."""
    from tricks_plugin.common.sync_bn import synchronize_batch_norms
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/group', rank=rank, world_size=2)
    cfg = load_config(args.model)
    converted = build(cfg, 'cpu')
    found = synchronize_batch_norms(converted)
    pairs = pairs_of(stepper(build(cfg, 'cpu')), stepper(converted), args, dist.barrier) \
        if found.trains else []
    if rank == 0:
        Path(folder, 'pairs.json').write_text(json.dumps(pairs))
    dist.barrier()
    dist.destroy_process_group()


def sync_bn_pairs(args: argparse.Namespace) -> list[tuple[float, float]]:
    """Pairs of a process of two; none where no BN layer trains."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(sync_bn_worker, (args, folder), nprocs=2)
        return [tuple(pair) for pair in json.loads(Path(folder, 'pairs.json').read_text())]


def summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians, and the ratio within a pair with its quartiles."""
    low, middle, high = statistics.quantiles([other / plain for plain, other in pairs], n=4)
    plain, other = (statistics.median(values) for values in zip(*pairs, strict=True))
    return dict(plain=plain, trick=other, ratio=middle, low=low, high=high, pairs=len(pairs))


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The summary of every arm."""
    cfg = load_config(args.model)
    results = {}
    for name in args.arms:
        if name == 'sync_bn':
            pairs = sync_bn_pairs(args)
        else:
            plain = stepper(build(cfg, args.device))
            pairs = pairs_of(plain, ARMS[name](cfg, args.device), args)
        if pairs:
            results[name] = summary(pairs)
    return results


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', choices=list(CONFIGS), default='yolov3')
    parser.add_argument('--arms', default='', help='tricks, by comma; default: all that fit')
    parser.add_argument('--size', type=int, default=192, help='side of the images, px')
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--steps', type=int, default=12, help='pairs of steps per trick')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--clock', choices=('cpu', 'wall'), default='cpu')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--quick', action='store_true', help='small, and without sync_bn')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args()
    if args.quick:
        args.size, args.batch_size, args.steps = 64, 1, 3
    if args.device != 'cpu':
        args.clock = 'wall'
    skipped = {'sync_bn'} if args.model == 'retinanet' else {'resnet_d'}
    if args.quick or args.device != 'cpu':
        skipped.add('sync_bn')
    args.arms = args.arms.split(',') if args.arms else [n for n in WORDS if n not in skipped]
    unknown = set(args.arms) - set(WORDS)
    if unknown or args.steps < 2:
        parser.error(f'unknown arms: {sorted(unknown)}' if unknown else '--steps must be >= 2')
    return args


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    results = measure(args)
    if args.json:
        print(json.dumps(dict(model=args.model, size=args.size, batch_size=args.batch_size,
                              clock=args.clock, device=args.device, arms=results)))
        return
    print(f'{CONFIGS[args.model]}, {args.batch_size} images of {args.size} px per step on '
          f'{args.device}, {args.threads} thread(s), {args.clock} time, {args.steps} pairs\n')
    print('| trick | ms without | ms with | ratio (quartiles) |')
    print('|---|---|---|---|')
    for name, row in results.items():
        print(f'| {WORDS[name]} | {row["plain"] * 1e3:.0f} | {row["trick"] * 1e3:.0f} | '
              f'{row["ratio"]:.3f} ({row["low"]:.3f} to {row["high"]:.3f}) |')


if __name__ == '__main__':
    main()
