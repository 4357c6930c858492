"""What mixup costs a data pipeline: images per second with and without it, and its blend alone.

    python benchmarks/mixup_pipeline.py [--config CONFIG] [--own-data] [--cfg-options K=V ...]

Both pipelines run in this one process, in turns, on the same images, and its processor time is
counted, so that a busy machine matters little. By default the config is mmdet's YOLOv3 and the
data a synthetic COCO set in a temporary folder; ``--own-data`` takes what the config names.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import mmdet
import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from tricks_plugin import apply_tricks
from tricks_plugin.config_edit import find
from tricks_plugin.tricks.mixup import blend

ZOO = Path(mmdet.__file__).parent / '.mim' / 'configs'
BLEND_SIZES = ((416, 416), (608, 608), (800, 1333))


def synthetic_coco(folder: Path, images: int) -> None:
    """Writes JPEGs of 640x480 and 480x640 with three boxes each, and ``train.json``."""
    rng = np.random.RandomState(0)
    records, boxes = [], []
    for number in range(images):
        height, width = ((480, 640), (640, 480))[number % 2]
        noise = rng.randint(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
        image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f'{number}.jpg'), image)
        records.append(dict(id=number, file_name=f'{number}.jpg', height=height, width=width))
        for x, y in rng.randint(0, 300, (3, 2)).tolist():
            boxes.append(dict(id=len(boxes) + 1, image_id=number, category_id=1, iscrowd=0,
                              bbox=[x, y, 150, 120], area=150 * 120))
    (folder / 'train.json').write_text(json.dumps(dict(
        images=records, annotations=boxes, categories=[dict(id=1, name='thing')])))


def build(cfg: Config):
    """The training dataset of a config."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    return DATASETS.build(cfg.train_dataloader.dataset)


def seconds(dataset, indices, seed: int) -> float:
    np.random.seed(seed)
    start = time.process_time()
    for index in indices:
        dataset[index]
    return time.process_time() - start


def pipeline_rates(cfg: Config, params: dict, images: int, rounds: int) -> dict:
    """Images per second of the plain and the mixed pipeline, and their ratio per round."""
    mixed, plan = apply_tricks(cfg, tricks=dict(mixup=params))
    verdict = next(row for row in plan.tricks if row.name == 'mixup')
    if verdict.status != 'applied':
        raise SystemExit(f'mixup is {verdict.status} here: {verdict.reason}')
    datasets = [build(cfg), build(mixed)]
    indices = [number % len(datasets[0]) for number in range(images)]
    for dataset in datasets:
        seconds(dataset, indices, 0)
    rows = []
    for number in range(rounds):
        rows.append([images / seconds(dataset, indices, number) for dataset in datasets])
    ratios = [with_mixup / without for without, with_mixup in rows]
    return dict(plain=statistics.median(row[0] for row in rows),
                mixed=statistics.median(row[1] for row in rows),
                ratio=statistics.median(ratios), ratio_min=min(ratios), ratio_max=max(ratios))


def blend_costs(rounds: int) -> list[dict]:
    """Blending two uint8 images against copying the bytes of one, in milliseconds."""
    rows = []
    for height, width in BLEND_SIZES:
        rng = np.random.RandomState(1)
        first, second = rng.randint(0, 256, (2, height, width, 3)).astype(np.uint8)
        out = np.empty_like(first)
        copies, blends = [], []
        for _ in range(30 * rounds):
            start = time.perf_counter()
            np.copyto(out, first)
            middle = time.perf_counter()
            blend(first, second, 0.3, out=out)
            blends.append(1000 * (time.perf_counter() - middle))
            copies.append(1000 * (middle - start))
        copy, mix = statistics.median(copies), statistics.median(blends)
        rows.append(dict(size=f'{width}x{height}', copy_ms=copy, blend_ms=mix, ratio=mix / copy))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', type=Path,
                        default=ZOO / 'yolo' / 'yolov3_d53_8xb8-ms-608-273e_coco.py')
    parser.add_argument('--own-data', action='store_true', help='the data that the config names')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument('--partner', choices=('cache', 'dataset'), default='cache')
    parser.add_argument('--images', type=int, default=64, help='images per round')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args()
    cv2.setNumThreads(0)  # as in a worker process
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    with tempfile.TemporaryDirectory() as folder:
        if not args.own_data:
            synthetic_coco(Path(folder), min(args.images, 64))
            for _, leaf in find(cfg.train_dataloader.dataset, 'CocoDataset'):
                leaf.update(data_root=f'{folder}/', ann_file='train.json',
                            data_prefix=dict(img=''), metainfo=dict(classes=('thing',)))
        rates = pipeline_rates(cfg, dict(partner=args.partner), args.images, args.rounds)
    blends = blend_costs(args.rounds)
    if args.json:
        print(json.dumps(dict(config=args.config.name, pipeline=rates, blend=blends)))
        return
    print(f'{args.config.name}: images per processor second, median of {args.rounds} rounds')
    print(f'  without mixup {rates["plain"]:8.1f}')
    print(f'  with mixup    {rates["mixed"]:8.1f}    ratio {rates["ratio"]:.3f} '
          f'({rates["ratio_min"]:.3f} to {rates["ratio_max"]:.3f})')
    print('blend of two uint8 images against a copy of one, milliseconds')
    for row in blends:
        print(f'  {row["size"]:>9}  copy {row["copy_ms"]:6.3f}  blend {row["blend_ms"]:6.3f}  '
              f'ratio {row["ratio"]:.1f}')


if __name__ == '__main__':
    main()
