"""What weighting the losses costs: training steps of YOLOv3-MobileNetV2 with and without it.

    python benchmarks/mixup_step.py [--size 320] [--batch-size 4] [--steps 20] [--device cpu]

The same model takes steps in turns, with the weighting hook attached and detached, on the same
batch; on the CPU processor time is counted, so that a busy machine matters little.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
import types
from pathlib import Path

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from tricks_plugin import MixUpWeightingHook

CONFIG = (Path(mmdet.__file__).parent / '.mim' / 'configs' / 'yolo'
          / 'yolov3_mobilenetv2_8xb24-320-300e_coco.py')


def build_model(device: str):
    """The zoo's YOLOv3-MobileNetV2, untrained."""
    cfg = Config.fromfile(CONFIG)
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    return MODELS.build(cfg.model).to(device).train()


def make_batch(size: int, batch_size: int, boxes: int) -> dict:
    """Random images with mixed boxes."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(batch_size):
        corners = torch.rand(boxes, 2, generator=generator) * size * 0.6
        sides = (0.05 + 0.3 * torch.rand(boxes, 2, generator=generator)) * size
        instances = InstanceData(
            bboxes=torch.cat([corners, corners + sides], 1),
            labels=torch.randint(80, (boxes,), generator=generator),
            mixup_weights=torch.where(torch.arange(boxes) < boxes // 2, 0.3, 0.7))
        samples.append(DetDataSample(gt_instances=instances, metainfo=dict(
            img_shape=(size, size), scale_factor=(1.0, 1.0))))
    images = torch.randint(0, 256, (batch_size, 3, size, size), generator=generator)
    return dict(inputs=list(images.to(torch.uint8)), data_samples=samples)


def step_seconds(model, optim: OptimWrapper, batch: dict, device: str) -> float:
    if device == 'cpu':
        start = time.process_time()
        model.train_step(batch, optim)
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    model.train_step(batch, optim)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(args: argparse.Namespace) -> dict:
    """Seconds per step without and with the hook, and the ratio of neighbouring steps."""
    model = build_model(args.device)
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-5))
    batch = make_batch(args.size, args.batch_size, args.boxes)
    runner = types.SimpleNamespace(
        model=model, logger=logging.getLogger('benchmark'),
        train_dataloader=types.SimpleNamespace(dataset=None))
    hook = MixUpWeightingHook()
    pairs = []
    for number in range(args.warmup + args.steps):
        pair = {}
        for weighted in (False, True) if number % 2 else (True, False):
            if weighted:
                hook.before_train(runner)
            pair[weighted] = step_seconds(model, optim, batch, args.device)
            hook.after_train(runner)
        if number >= args.warmup:
            pairs.append(pair)
    ratios = [pair[True] / pair[False] for pair in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return dict(plain=statistics.median(pair[False] for pair in pairs),
                weighted=statistics.median(pair[True] for pair in pairs),
                ratio=middle, ratio_quartiles=[low, high], steps=len(pairs),
                weighted_positives=hook.weighted_positives)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=320)
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--boxes', type=int, default=12, help='boxes per image')
    parser.add_argument('--steps', type=int, default=20, help='steps of each kind')
    parser.add_argument('--warmup', type=int, default=3)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args()
    result = measure(args)
    if args.json:
        print(json.dumps(result))
        return
    low, high = result['ratio_quartiles']
    print(f'YOLOv3-MobileNetV2, {args.batch_size} images of {args.size} on {args.device}, '
          f'{result["steps"]} steps of each kind, seconds per step (median)')
    print(f'  unweighted {result["plain"]:.4f}')
    print(f'  weighted   {result["weighted"]:.4f}    ratio {result["ratio"]:.4f} '
          f'(quartiles {low:.4f} to {high:.4f})')


if __name__ == '__main__':
    main()
